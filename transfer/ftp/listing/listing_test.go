package listing

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/transfer"
)

// now is when the lists were taken, for the dates without a year.
var now = time.Date(2024, time.May, 20, 12, 0, 0, 0, time.UTC)

const (
	dir     = fs.ModeDir
	link    = fs.ModeSymlink
	minute  = time.Minute
	second  = time.Second
	day     = 24 * time.Hour
	unknown = int64(-1)
)

func at(s string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04:05", s, time.UTC)
	if err != nil {
		panic(err)
	}
	return t
}

// lists are raw lines with where they come from. "captured" was taken from that
// server; a book or a test suite is named where the format was learned from it.
var lists = []struct {
	source string
	line   string
	want   transfer.Info
}{
	// Unix.
	{"vsftpd 3.0.3, captured", "-rw-r--r--    1 0        0               3 Nov 22 13:50  leading space",
		transfer.Info{Name: " leading space", Size: 3, Mode: 0o644, HasPerm: true, Owner: "0", Group: "0", ModTime: at("2023-11-22 13:50:00"), Precision: minute}},
	{"vsftpd 3.0.3, captured", "drwxr-xr-x    2 0        0            4096 Nov 22 13:50 in",
		transfer.Info{Name: "in", Size: 4096, Mode: dir | 0o755, HasPerm: true, Owner: "0", Group: "0", ModTime: at("2023-11-22 13:50:00"), Precision: minute}},
	{"vsftpd 3.0.3, captured", "-rw-r--r--    1 0        0               1 Nov 22  2023 old.txt",
		transfer.Info{Name: "old.txt", Size: 1, Mode: 0o644, HasPerm: true, Owner: "0", Group: "0", ModTime: at("2023-11-22 00:00:00"), Precision: day}},
	{"vsftpd 3.0.3, captured", "lrwxrwxrwx    1 0        0              10 Nov 22 13:50 link -> report.csv",
		transfer.Info{Name: "link", Link: "report.csv", Size: 10, Mode: link | 0o777, HasPerm: true, Owner: "0", Group: "0", ModTime: at("2023-11-22 13:50:00"), Precision: minute}},
	{"vsftpd 3.0.3, captured", "-rw-r--r--    1 0        0               1 Nov 22 13:50 日本語",
		transfer.Info{Name: "日本語", Size: 1, Mode: 0o644, HasPerm: true, Owner: "0", Group: "0", ModTime: at("2023-11-22 13:50:00"), Precision: minute}},
	{"vsftpd 3.0.3, captured", "drwxr-xr-x    3 1001     65534        4096 Nov 22 13:50 .", transfer.Info{}},
	{"proftpd 1.3.8, captured", "-rw-r--r--   1 0        0               3 Nov 22 13:50 trailing space ",
		transfer.Info{Name: "trailing space ", Size: 3, Mode: 0o644, HasPerm: true, Owner: "0", Group: "0", ModTime: at("2023-11-22 13:50:00"), Precision: minute}},
	{"proftpd 1.3.8, captured", "prw-r--r--   1 0        0               0 Nov 22 13:50 fifo",
		transfer.Info{Name: "fifo", Size: 0, Mode: fs.ModeNamedPipe | 0o644, HasPerm: true, Owner: "0", Group: "0", ModTime: at("2023-11-22 13:50:00"), Precision: minute}},
	{"pure-ftpd 1.0.50, captured", "-rwsr-xr-t    1 0          0                   0 Nov 22 13:51 setuid",
		transfer.Info{Name: "setuid", Size: 0, Mode: fs.ModeSetuid | fs.ModeSticky | 0o755, HasPerm: true, Owner: "0", Group: "0", ModTime: at("2023-11-22 13:51:00"), Precision: minute}},
	{"pure-ftpd 1.0.50, captured", "drwxr-xr-x    3 65534      nogroup          4096 Nov 22 13:51 ..", transfer.Info{}},
	{"pyftpdlib 1.5.7, captured", "-rw-r--r--   1 root     root            1 Nov 22 13:51 a -> b",
		transfer.Info{Name: "a -> b", Size: 1, Mode: 0o644, HasPerm: true, Owner: "root", Group: "root", ModTime: at("2023-11-22 13:51:00"), Precision: minute}},
	{"FileZilla Server 0.9.41, an nmap report", "-r--r--r-- 1 ftp ftp            536 Nov 03  2020 .gitignore",
		transfer.Info{Name: ".gitignore", Size: 536, Mode: 0o444, HasPerm: true, Owner: "ftp", Group: "ftp", ModTime: at("2020-11-03 00:00:00"), Precision: day}},
	{"FileZilla Server 0.9.41, an nmap report", "drwxr-xr-x 1 ftp ftp              0 Nov 03  2020 app",
		transfer.Info{Name: "app", Size: 0, Mode: dir | 0o755, HasPerm: true, Owner: "ftp", Group: "ftp", ModTime: at("2020-11-03 00:00:00"), Precision: day}},
	{"Serv-U, a comment in a client's source", "-rw-rw-rw-   1 user     group         625 Dec  7  2018 FTP文档.txt",
		transfer.Info{Name: "FTP文档.txt", Size: 625, Mode: 0o666, HasPerm: true, Owner: "user", Group: "group", ModTime: at("2018-12-07 00:00:00"), Precision: day}},
	{"Serv-U, a comment in a client's source", "drw-rw-rw-   1 user     group           0 Jun 13 23:36 folder with space",
		transfer.Info{Name: "folder with space", Size: 0, Mode: dir | 0o666, HasPerm: true, Owner: "user", Group: "group", ModTime: at("2023-06-13 23:36:00"), Precision: minute}},
	{"IBM i, LISTFMT 1, commons-net's tests", "----rwxr-x   1 PEP      0           4019 Mar 18 18:58 einladung.zip",
		transfer.Info{Name: "einladung.zip", Size: 4019, Mode: 0o075, HasPerm: true, Owner: "PEP", Group: "0", ModTime: at("2024-03-18 18:58:00"), Precision: minute}},
	{"ls(1), no group", "dr-xr-xr-x   2 root                  512 Apr  8  1994 etc",
		transfer.Info{Name: "etc", Size: 512, Mode: dir | 0o555, HasPerm: true, Owner: "root", ModTime: at("1994-04-08 00:00:00"), Precision: day}},
	{"ls(1), symbolic link", "lrwxrwxrwx   1 root     other          7 Jan 25 00:17 bin -> usr/bin",
		transfer.Info{Name: "bin", Link: "usr/bin", Size: 7, Mode: link | 0o777, HasPerm: true, Owner: "root", Group: "other", ModTime: at("2024-01-25 00:17:00"), Precision: minute}},
	{"GNU ls, SELinux", "-rw-r--r--. 1 root root 12 Jan  2 03:04 selinux",
		transfer.Info{Name: "selinux", Size: 12, Mode: 0o644, HasPerm: true, Owner: "root", Group: "root", ModTime: at("2024-01-02 03:04:00"), Precision: minute}},
	{"GNU ls, ACL", "-rw-rw-r--+ 1 root root 12 Jan  2 03:04 acl",
		transfer.Info{Name: "acl", Size: 12, Mode: 0o664, HasPerm: true, Owner: "root", Group: "root", ModTime: at("2024-01-02 03:04:00"), Precision: minute}},
	{"macOS ls, attributes", "-rw-r--r--@ 1 me staff 12 Jan  2 03:04 attributes",
		transfer.Info{Name: "attributes", Size: 12, Mode: 0o644, HasPerm: true, Owner: "me", Group: "staff", ModTime: at("2024-01-02 03:04:00"), Precision: minute}},
	{"ls(1), special bits", "-rwsr-Sr-t 1 root root 12 Jan  2 03:04 bits",
		transfer.Info{Name: "bits", Size: 12, Mode: fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky | 0o745, HasPerm: true, Owner: "root", Group: "root", ModTime: at("2024-01-02 03:04:00"), Precision: minute}},
	{"ls(1), device", "crw--w----   1 root tty       4,  64 Jan  2 03:04 ttyS0",
		transfer.Info{Name: "ttyS0", Size: unknown, Mode: fs.ModeDevice | fs.ModeCharDevice | 0o620, HasPerm: true, Owner: "root", Group: "tty", ModTime: at("2024-01-02 03:04:00"), Precision: minute}},
	{"ls(1), block device", "brw-rw---- 1 root disk 8,0 Jan  2 03:04 sda",
		transfer.Info{Name: "sda", Size: unknown, Mode: fs.ModeDevice | 0o660, HasPerm: true, Owner: "root", Group: "disk", ModTime: at("2024-01-02 03:04:00"), Precision: minute}},
	{"ls(1), fifo", "prw-r--r-- 1 root root 0 Jan  2 03:04 fifo",
		transfer.Info{Name: "fifo", Size: 0, Mode: fs.ModeNamedPipe | 0o644, HasPerm: true, Owner: "root", Group: "root", ModTime: at("2024-01-02 03:04:00"), Precision: minute}},
	{"ls(1), socket", "srwxr-xr-x 1 root root 0 Jan  2 03:04 socket",
		transfer.Info{Name: "socket", Size: 0, Mode: fs.ModeSocket | 0o755, HasPerm: true, Owner: "root", Group: "root", ModTime: at("2024-01-02 03:04:00"), Precision: minute}},
	{"a size with zeros in front is decimal", "-rw-r--r-- 1 u g 0010 Jan  2 03:04 zeros",
		transfer.Info{Name: "zeros", Size: 10, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2024-01-02 03:04:00"), Precision: minute}},
	{"a size beyond 63 bits is none", "-rw-r--r-- 1 u g 99999999999999999999 Jan  2 03:04 huge",
		transfer.Info{Name: "huge", Size: unknown, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2024-01-02 03:04:00"), Precision: minute}},
	{"an owner that looks like a month", "-rw-r--r-- 1 mark 12 1994 Jan 29 03:26 file",
		transfer.Info{Name: "file", Size: 1994, Mode: 0o644, HasPerm: true, Owner: "mark", Group: "12", ModTime: at("2024-01-29 03:26:00"), Precision: minute}},
	{"a name that begins with a clock", "-rw-r--r-- 1 u g 5 Apr  8  1994 10:30 notes",
		transfer.Info{Name: "10:30 notes", Size: 5, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("1994-04-08 00:00:00"), Precision: day}},
	{"a name that looks like a line", "-rw-r--r-- 1 u g 5 Jan 29 03:26 7 Feb 12 1999 x",
		transfer.Info{Name: "7 Feb 12 1999 x", Size: 5, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2024-01-29 03:26:00"), Precision: minute}},

	// Dates.
	{"last year, because it is not yet that day", "-rw-r--r-- 1 u g 5 May 22 09:00 f",
		transfer.Info{Name: "f", Size: 5, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2023-05-22 09:00:00"), Precision: minute}},
	{"a server whose clock is ahead", "-rw-r--r-- 1 u g 5 May 21 03:00 f",
		transfer.Info{Name: "f", Size: 5, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2024-05-21 03:00:00"), Precision: minute}},
	{"a leap day", "-rw-r--r-- 1 u g 5 Feb 29 03:00 f",
		transfer.Info{Name: "f", Size: 5, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2024-02-29 03:00:00"), Precision: minute}},
	{"GNU ls --time-style=long-iso", "-rw-r--r-- 1 u g 531 2005-06-07 21:22 f",
		transfer.Info{Name: "f", Size: 531, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2005-06-07 21:22:00"), Precision: minute}},
	{"GNU ls --time-style=iso, recent", "-rw-r--r-- 1 u g 531 02-26 13:45 f",
		transfer.Info{Name: "f", Size: 531, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2024-02-26 13:45:00"), Precision: minute}},
	{"GNU ls --time-style=iso, old", "-rw-r--r-- 1 u g 531 2005-06-07  f",
		transfer.Info{Name: "f", Size: 531, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2005-06-07 00:00:00"), Precision: day}},
	{"GNU ls --full-time", "-rw-r--r-- 1 u g 531 2024-05-01 12:34:56.000000000 +0200 f",
		transfer.Info{Name: "f", Size: 531, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2024-05-01 10:34:56"), Precision: second}},
	{"FreeBSD ls -T", "-rw-r--r--  1 u  g  531 Feb 12 17:20:01 2022 f",
		transfer.Info{Name: "f", Size: 531, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2022-02-12 17:20:01"), Precision: second}},
	{"VShell, FileZilla's tests", "-rwxr-xr-x    1 user group        9 Oct 08, 2002 09:47 f",
		transfer.Info{Name: "f", Size: 9, Mode: 0o755, HasPerm: true, Owner: "user", Group: "group", ModTime: at("2002-10-08 09:47:00"), Precision: minute}},
	{"day first, FileZilla's tests", "drwxr-xr-x 3 user group 512 01 oct 2004 f",
		transfer.Info{Name: "f", Size: 512, Mode: dir | 0o755, HasPerm: true, Owner: "user", Group: "group", ModTime: at("2004-10-01 00:00:00"), Precision: day}},
	{"day first, a name that begins with a year, FileZilla's tests", "drwxrwxrwx   1 0        0               0 29 Jul 02:27 2014 Invoices",
		transfer.Info{Name: "2014 Invoices", Size: 0, Mode: dir | 0o777, HasPerm: true, Owner: "0", Group: "0", ModTime: at("2023-07-29 02:27:00"), Precision: minute}},
	{"slashes", "-r-xr-xr-x   2 u g      2235 1999/10/12 17:12 f",
		transfer.Info{Name: "f", Size: 2235, Mode: 0o555, HasPerm: true, Owner: "u", Group: "g", ModTime: at("1999-10-12 17:12:00"), Precision: minute}},
	{"day, month, year", "-r-xr-xr-x   2 u g      2235 24-04-2003 17:12 f",
		transfer.Info{Name: "f", Size: 2235, Mode: 0o555, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2003-04-24 17:12:00"), Precision: minute}},
	{"midnight of the day's end, FileZilla's tests", "-rw-------      1  99999999 0              3 Apr   4 24:00 f",
		transfer.Info{Name: "f", Size: 3, Mode: 0o600, HasPerm: true, Owner: "99999999", Group: "0", ModTime: at("2024-04-05 00:00:00"), Precision: minute}},
	{"German", "-rw-r--r-- 1 u g 5 26. März, 20:10 f",
		transfer.Info{Name: "f", Size: 5, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2024-03-26 20:10:00"), Precision: minute}},
	{"German", "-rw-r--r-- 1 u g 5 2.   Okt.  2003 f",
		transfer.Info{Name: "f", Size: 5, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2003-10-02 00:00:00"), Precision: day}},
	{"French", "-rw-r--r-- 1 u g 5 15 févr. 20:10 f",
		transfer.Info{Name: "f", Size: 5, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2024-02-15 20:10:00"), Precision: minute}},
	{"Spanish", "-rw-r--r-- 1 u g 5 ene 15 20:10 f",
		transfer.Info{Name: "f", Size: 5, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2024-01-15 20:10:00"), Precision: minute}},
	{"Hungarian, FileZilla's tests", "dr-xr-xr-x   2 u g      2235 szept 26 20:10 f",
		transfer.Info{Name: "f", Size: 2235, Mode: dir | 0o555, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2023-09-26 20:10:00"), Precision: minute}},
	{"Russian", "-rw-r--r-- 1 u g 5 янв 15 20:10 f",
		transfer.Info{Name: "f", Size: 5, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2024-01-15 20:10:00"), Precision: minute}},
	{"a language nobody here speaks: the entry is kept, its time unknown", "-rw-r--r-- 1 u g 5 xyz 15 20:10 f",
		transfer.Info{Name: "f", Size: 5, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g"}},
	{"Korean, UTF-8, FileZilla's tests", "drwxr-xr-x   5 root     sys          512 2005\xEB\x85\x84  1\xEC\x9B\x94  6\xEC\x9D\xBC f",
		transfer.Info{Name: "f", Size: 512, Mode: dir | 0o755, HasPerm: true, Owner: "root", Group: "sys", ModTime: at("2005-01-06 00:00:00"), Precision: day}},
	{"Japanese, Shift JIS, FileZilla's tests", "-rw-r--r--   1 root       sys           8473  4\x8c\x8e 18\x93\xfa 2003\x94\x4e f",
		transfer.Info{Name: "f", Size: 8473, Mode: 0o644, HasPerm: true, Owner: "root", Group: "sys", ModTime: at("2003-04-18 00:00:00"), Precision: day}},
	{"Asian, FileZilla's tests", "-r--r--r-- 1 root root 2096 3\xed 17 08:52 f",
		transfer.Info{Name: "f", Size: 2096, Mode: 0o444, HasPerm: true, Owner: "root", Group: "root", ModTime: at("2024-03-17 08:52:00"), Precision: minute}},
	{"a size for people is none", "-rw-r--r--   1 u g  33.5k Oct 5 21:22 f",
		transfer.Info{Name: "f", Size: unknown, Mode: 0o644, HasPerm: true, Owner: "u", Group: "g", ModTime: at("2023-10-05 21:22:00"), Precision: minute}},
	{"a size glued to a long group is none", "-r-xr-xr-x longowner longgroup123456 Feb 12 17:20 f",
		transfer.Info{Name: "f", Size: unknown, Mode: 0o555, HasPerm: true, Owner: "longowner", ModTime: at("2024-02-12 17:20:00"), Precision: minute}},
	{"a domain between group and user", "-rw-r--r--   1 group domain user 531 Jan 29 03:26 f",
		transfer.Info{Name: "f", Size: 531, Mode: 0o644, HasPerm: true, Owner: "group", Group: "domain user", ModTime: at("2024-01-29 03:26:00"), Precision: minute}},
	{"numbers only, FileZilla's tests", "0100644   500  101   12345    123456789       f",
		transfer.Info{Name: "f", Size: 12345, Mode: 0o644, HasPerm: true, Owner: "500", Group: "101", ModTime: at("1973-11-29 21:33:09"), Precision: second}},

	// NetWare.
	{"NetWare, ftpparse", "d [R----F--] supervisor            512       Jan 16 18:53    login",
		transfer.Info{Name: "login", Size: 512, Mode: dir, Owner: "supervisor", ModTime: at("2024-01-16 18:53:00"), Precision: minute}},
	{"NetWare, ftpparse", "- [R----F--] rhesus             214059       Oct 20 15:27    cx.exe",
		transfer.Info{Name: "cx.exe", Size: 214059, Owner: "rhesus", ModTime: at("2023-10-20 15:27:00"), Precision: minute}},
	{"NetWare, no space behind the type", "-[RWCEAFMS] 1 admin                 1024 Mar 10  2023 two words.txt",
		transfer.Info{Name: "two words.txt", Size: 1024, Owner: "admin", ModTime: at("2023-03-10 00:00:00"), Precision: day}},

	// Windows.
	{"IIS, MS-DOS style, ftpparse", "04-27-00  12:09PM       <DIR>          licensed",
		transfer.Info{Name: "licensed", Size: unknown, Mode: dir, ModTime: at("2000-04-27 12:09:00"), Precision: minute}},
	{"IIS, MS-DOS style, ftpparse", "04-06-00  03:47PM                  589 readme.htm",
		transfer.Info{Name: "readme.htm", Size: 589, ModTime: at("2000-04-06 15:47:00"), Precision: minute}},
	{"IIS, four-digit years", "04-14-2014  12:47AM                12345  leading space",
		transfer.Info{Name: " leading space", Size: 12345, ModTime: at("2014-04-14 00:47:00"), Precision: minute}},
	{"IIS, a directory with a space in front", "04-27-2000  12:09PM       <DIR>           dir",
		transfer.Info{Name: " dir", Size: unknown, Mode: dir, ModTime: at("2000-04-27 12:09:00"), Precision: minute}},
	{"Windows, ISO dates, FileZilla's tests", "2002-09-02  18:48       <DIR>          longyear dir",
		transfer.Info{Name: "longyear dir", Size: unknown, Mode: dir, ModTime: at("2002-09-02 18:48:00"), Precision: minute}},
	{"Windows, thousands, FileZilla's tests", "2002-09-02  19:06                9,730 file",
		transfer.Info{Name: "file", Size: 9730, ModTime: at("2002-09-02 19:06:00"), Precision: minute}},
	{"cmd.exe, dir", "03/12/2021  10:15 AM    <JUNCTION>     Documents [C:\\Users\\x]",
		transfer.Info{Name: "Documents", Link: "C:\\Users\\x", Size: unknown, Mode: link, ModTime: at("2021-03-12 10:15:00"), Precision: minute}},

	// EPLF.
	{"EPLF, cr.yp.to/ftp/list/eplf.html", "+i8388621.48594,m825718503,r,s280,\tdjb.html",
		transfer.Info{Name: "djb.html", Size: 280, ModTime: at("1996-03-01 22:15:03"), Precision: second}},
	{"EPLF, cr.yp.to/ftp/list/eplf.html", "+i8388621.50690,m824255907,/,\t514",
		transfer.Info{Name: "514", Size: unknown, Mode: dir, ModTime: at("1996-02-13 23:58:27"), Precision: second}},
	{"EPLF with permissions", "+s5,up640,r,\ta, b",
		transfer.Info{Name: "a, b", Size: 5, Mode: 0o640, HasPerm: true}},

	// VMS.
	{"OpenVMS, ftpparse", "CII-MANUAL.TEX;1  213/216  29-JAN-1996 03:33:12  [ANONYMOU,ANONYMOUS]   (RWED,RWED,,)",
		transfer.Info{Name: "CII-MANUAL.TEX;1", Size: unknown, Owner: "ANONYMOUS", Group: "ANONYMOU", ModTime: at("1996-01-29 03:33:12"), Precision: second}},
	{"OpenVMS, ftpparse", "CORE.DIR;1  1 8-SEP-1996 16:09 [SYSTEM] (RWE,RWE,RE,RE)",
		transfer.Info{Name: "CORE", Size: unknown, Mode: dir, Owner: "SYSTEM", ModTime: at("1996-09-08 16:09:00"), Precision: minute}},
	{"OpenVMS, FileZilla's tests", "FILE.TXT;1       155   2-JUL-2003 10:30:13.64",
		transfer.Info{Name: "FILE.TXT;1", Size: unknown, ModTime: at("2003-07-02 10:30:13"), Precision: second}},
	{"OpenVMS, no clock, FileZilla's tests", "NOTIME.TXT;1    2/8    7-JAN-2000    [IV2_XXX]   (RWED,RWED,RE,)",
		transfer.Info{Name: "NOTIME.TXT;1", Size: unknown, Owner: "IV2_XXX", ModTime: at("2000-01-07 00:00:00"), Precision: day}},
	{"OpenVMS, other order, FileZilla's tests", "ALT.TXT;1   [SUMMARY]    1/3     2-AUG-2006 13:05  (RWE,RWE,RE,)",
		transfer.Info{Name: "ALT.TXT;1", Size: unknown, Owner: "SUMMARY", ModTime: at("2006-08-02 13:05:00"), Precision: minute}},
	{"OpenVMS, a file that may not be looked at", "SECRET.DAT;1  %RMS-E-PRV, insufficient privilege or file protection violation",
		transfer.Info{Name: "SECRET.DAT;1", Size: unknown}},

	// AS/400.
	{"IBM i, FileZilla's tests", "QSYS            77824 02/23/00 15:09:55 *DIR       dir name/",
		transfer.Info{Name: "dir name", Size: unknown, Mode: dir, Owner: "QSYS", ModTime: at("2000-02-23 15:09:55"), Precision: second}},
	{"IBM i, commons-net's tests; three dates are possible, so none", "PEP              4019 04/03/18 18:58:16 *STMF      einladung.zip",
		transfer.Info{Name: "einladung.zip", Size: 4019, Owner: "PEP"}},
	{"IBM i, commons-net's tests; likewise", "PEP              6409 04/03/24 14:06:29 *STMF      build.xml",
		transfer.Info{Name: "build.xml", Size: 6409, Owner: "PEP"}},
	{"IBM i, commons-net issue 573", "ZFTPDEV 9069 05/20/15 15:36:52 *STMF AUDWRK0204232015114625.PDF",
		transfer.Info{Name: "AUDWRK0204232015114625.PDF", Size: 9069, Owner: "ZFTPDEV", ModTime: at("2015-05-20 15:36:52"), Precision: second}},
	{"IBM i, day first, FileZilla's tests", "QPGMR           36864 18.09.06 14:21:26 *FILE      AS400.FILE",
		transfer.Info{Name: "AS400.FILE", Size: unknown, Mode: dir, Owner: "QPGMR", ModTime: at("2006-09-18 14:21:26"), Precision: second}},
	{"IBM i, day first, FileZilla's tests", "QSYS            77824 23/02/00 15:09:55 *FILE      X.SAVF",
		transfer.Info{Name: "X.SAVF", Size: unknown, Owner: "QSYS", ModTime: at("2000-02-23 15:09:55"), Precision: second}},
	{"IBM i, a member has neither size nor date", "QPGMR                                    *MEM       SRC.MBR",
		transfer.Info{Name: "SRC.MBR", Size: unknown, Owner: "QPGMR"}},

	// z/OS, without a heading.
	{"z/OS data set, FileZilla's tests", "WYOSPT 3420   2003/05/21  1  200  FB      80  8053  PS  PAYROLL.FILE",
		transfer.Info{Name: "PAYROLL.FILE", Size: unknown, ModTime: at("2003-05-21 00:00:00"), Precision: day}},
	{"z/OS partitioned data set, FileZilla's tests", "WPTA01 3290   2004/03/04  1    3  FB      80  3125  PO  PAYROLL.JCL",
		transfer.Info{Name: "PAYROLL.JCL", Size: unknown, Mode: dir, ModTime: at("2004-03-04 00:00:00"), Precision: day}},
	{"z/OS, LISTLEVEL 1 (IBM APAR PM19545)", "WYOSPT 3420   2003/05/21  1 3 U 6447    6447  PO-E PAYROLL.LOAD",
		transfer.Info{Name: "PAYROLL.LOAD", Size: unknown, Mode: dir, ModTime: at("2003-05-21 00:00:00"), Precision: day}},
	{"z/OS, never referred to, FileZilla's tests", "NRP004 3390   **NONE**    1   15  NONE     0     0  PO  PAYROLL.NEW",
		transfer.Info{Name: "PAYROLL.NEW", Size: unknown, Mode: dir}},
	{"z/OS, long figures run together, FileZilla's tests", "TSO005 3390   2005/06/06 213000 U 0 27998 PO PAYROLL.BIG",
		transfer.Info{Name: "PAYROLL.BIG", Size: unknown, Mode: dir, ModTime: at("2005-06-06 00:00:00"), Precision: day}},
	{"z/OS, too much for the column, FileZilla forum 21667", "GISBWI 3390   2011/08/25  2 ++++  FB     904 18080  PS  PAYROLL.HUGE",
		transfer.Info{Name: "PAYROLL.HUGE", Size: unknown, ModTime: at("2011-08-25 00:00:00"), Precision: day}},
	{"z/OS member with statistics, FileZilla's tests", "BILL     01.01 2004/06/22 2004/06/23 16:32   128   128    0 BOBY12",
		transfer.Info{Name: "BILL", Size: unknown, ModTime: at("2004-06-23 16:32:00"), Precision: minute}},
}

// read gives the entries of lines.
func read(t *testing.T, p *Parser, lines ...string) []transfer.Info {
	t.Helper()
	var got []transfer.Info
	add := func(i transfer.Info) error { got = append(got, i); return nil }
	for _, line := range lines {
		if err := p.Line(line, add); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.End(add); err != nil {
		t.Fatal(err)
	}
	return got
}

// same compares entries; times by instant.
func same(a, b transfer.Info) bool {
	if !a.ModTime.Equal(b.ModTime) {
		return false
	}
	a.ModTime, b.ModTime = time.Time{}, time.Time{}
	return a == b
}

func TestLists(t *testing.T) {
	for _, test := range lists {
		got := read(t, &Parser{Now: now}, test.line)
		if test.want.Name == "" {
			if len(got) > 0 {
				t.Errorf("%s: %q\n got %+v\nwant nothing", test.source, test.line, got)
			}
			continue
		}
		if len(got) != 1 || !same(got[0], test.want) {
			t.Errorf("%s: %q\n got %+v\nwant %+v", test.source, test.line, got, test.want)
		}
	}
}

// TestHeadings: lines that are no entries say nothing.
func TestHeadings(t *testing.T) {
	for _, line := range []string{
		"", "   ", "total 8", "insgesamt 12", "итого 4", "合計 16", "total 0",
		"Directory ANONYMOUS_ROOT:[000000]", "Total of 8 files, 500/500 blocks", "Grand total of 1 directory, 8 files.",
		"Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname",
		" Name     VV.MM   Created       Changed      Size  Init   Mod   Id",
		" Name      Size     TTR   Alias-of AC --------- Attributes --------- Amode Rmode",
		"drwxr-xr-x 2 u g 512 Jan  1 00:00 .", "drwxr-xr-x 2 u g 512 Jan  1 00:00 ..",
	} {
		if got := read(t, &Parser{Now: now}, line); len(got) > 0 {
			t.Errorf("%q: %+v, want nothing", line, got)
		}
	}
}

// TestUnreadable: what is no entry of any format is reported as it came.
func TestUnreadable(t *testing.T) {
	for _, line := range []string{
		"hello world, how are you", "-rw-r--r--", "-rw-r--r-- 1 u g", "d????????? ? ? ?            ? name",
		"-rw-r--r-- 1 u g 5 Jan 32 03:26 f", "-rw-r--r-- 1 u g 5 Feb 30 2020 f", "-rw-r--r-- 1 u g x Jan 29 03:26 f",
		"04-27-00  12:09PM", "04-27-00  12:09PM   x", "13-13-00  12:09PM 5 f", "+no tab", "* *DIR",
		"ftp: this is not a list", "-rw-r--r-- 1 u g 5 Jan 29 03:26 ", "JOB00123 USER OUTPUT A RC=0000",
	} {
		got := read(t, &Parser{Now: now}, line)
		if len(got) != 1 || !errors.Is(got[0].Bad, ErrFormat) || got[0].Name != line || got[0].IsRegular() {
			t.Errorf("%q: %+v, want it reported as unreadable", line, got)
		}
	}
}

// TestHostileNames: a name that would leave its directory, or that no command
// can carry, is reported and marked.
func TestHostileNames(t *testing.T) {
	for _, name := range []string{"../evil", "/etc/passwd", "a/b", "a\x00b", "a\rb"} {
		for _, line := range []string{
			"-rw-r--r-- 1 u g 5 Jan 29 03:26 " + name,
			"04-06-00  03:47PM                  589 " + name,
			"+s5,r,\t" + name,
		} {
			got := read(t, &Parser{Now: now}, line)
			if len(got) != 1 || !errors.Is(got[0].Bad, transfer.ErrBadName) || got[0].Name != name {
				t.Errorf("%q: %+v, want the name refused", line, got)
			}
		}
		info, ok := Facts("type=file; " + name)
		if !ok || !errors.Is(info.Bad, transfer.ErrBadName) {
			t.Errorf("facts: %q: %+v, want the name refused", name, info)
		}
	}
}

// TestTables: on z/OS the heading says how to read what follows.
func TestTables(t *testing.T) {
	got := read(t, &Parser{Now: now},
		"Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname",
		"WYOSPT 3420   2003/05/21  1  200  FB      80  8053  PS  A.FILE",
		"Migrated                                                A.MIGRATED",
		"V43525 Tape                                             A.TAPE",
		"ARCIVE Not Direct Access Device                         A.ARCHIVE",
		"TSO004 3390   VSAM A.VSAM",
		"Pseudo Directory                                        A.LEVEL",
	)
	names(t, got, "A.FILE", "A.MIGRATED", "A.TAPE", "A.ARCHIVE", "A.VSAM", "A.LEVEL/")

	got = read(t, &Parser{Now: now},
		" Name     VV.MM   Created       Changed      Size  Init   Mod   Id",
		"BILL     01.01 2004/06/22 2004/06/23 16:32   128   128    0 BOBY12",
		"NOSTATS",
		"ALSONONE",
	)
	names(t, got, "BILL", "NOSTATS", "ALSONONE")
	if want := at("2004-06-23 16:32:00"); !got[0].ModTime.Equal(want) {
		t.Errorf("BILL: %v, want %v", got[0].ModTime, want)
	}

	got = read(t, &Parser{Now: now},
		" Name      Size     TTR   Alias-of AC --------- Attributes --------- Amode Rmode",
		"PROG1    00B308 000411            00 FO                31    ANY",
	)
	names(t, got, "PROG1")
	if got[0].Size != -1 {
		t.Errorf("PROG1: size %d, want none: it is that of the load module", got[0].Size)
	}
}

// names checks names, with a "/" behind directories, and that nothing is bad.
func names(t *testing.T, got []transfer.Info, want ...string) {
	t.Helper()
	var have []string
	for _, i := range got {
		name := i.Name
		if i.IsDir() {
			name += "/"
		}
		if i.Bad != nil {
			t.Errorf("%q: %v", i.Name, i.Bad)
		}
		have = append(have, name)
	}
	if strings.Join(have, " ") != strings.Join(want, " ") {
		t.Errorf("got %q, want %q", have, want)
	}
}

// TestContinued: VMS breaks the line behind a long name.
func TestContinued(t *testing.T) {
	got := read(t, &Parser{Now: now},
		"Directory SYS$SYSDEVICE:[FTP]", "",
		"A_RATHER_LONG_NAME_FOR_A_FILE.TXT;1",
		"               170774/170775     24-APR-2003 08:16:15  [FTP,SCOT]      (RWED,RWED,RE,)",
		"SHORT.TXT;2       10   2-JUL-2003 10:30:08.59",
		"", "Total of 2 files, 170784 blocks.")
	names(t, got, "A_RATHER_LONG_NAME_FOR_A_FILE.TXT;1", "SHORT.TXT;2")
	if got[0].Owner != "SCOT" || !got[0].ModTime.Equal(at("2003-04-24 08:16:15")) {
		t.Errorf("%+v", got[0])
	}

	// A second line that never comes loses nothing.
	for _, lines := range [][]string{
		{"LONELY.TXT;1"},
		{"LONELY.TXT;1", "-rw-r--r-- 1 u g 5 Jan 29 03:26 f"},
	} {
		got := read(t, &Parser{Now: now}, lines...)
		if len(got) != len(lines) || got[0].Name != "LONELY.TXT;1" || !errors.Is(got[0].Bad, ErrFormat) {
			t.Errorf("%q: %+v", lines, got)
		}
	}
}

// TestZone: times of LIST are local to the server.
func TestZone(t *testing.T) {
	zone := time.FixedZone("", 2*60*60)
	for line, want := range map[string]time.Time{
		"-rw-r--r-- 1 u g 5 Jan 29 03:26 f":                  at("2024-01-29 01:26:00"),
		"04-06-00  03:47PM                  589 f":           at("2000-04-06 13:47:00"),
		"+m825718503,r,\tf":                                  at("1996-03-01 22:15:03"),
		"-rw-r--r-- 1 u g 5 2024-05-01 12:34:56.000 -0700 f": at("2024-05-01 19:34:56"),
		"QSYS 1024 02/23/00 10:20:05 *STMF f":                at("2000-02-23 08:20:05"),
	} {
		got := read(t, &Parser{Now: now, Zone: zone}, line)
		if len(got) != 1 || !got[0].ModTime.Equal(want) {
			t.Errorf("%q: %+v, want %v", line, got, want)
		}
	}
}

func TestStop(t *testing.T) {
	stop := errors.New("stop")
	p := &Parser{Now: now}
	for _, line := range []string{"-rw-r--r-- 1 u g 5 Jan 29 03:26 f", "no entry at all"} {
		if err := p.Line(line, func(transfer.Info) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("%q: %v, want the error of add", line, err)
		}
	}
}

// facts are lines of MLSD, with their source.
var facts = []struct {
	source, line string
	want         transfer.Info
}{
	{"proftpd 1.3.8, captured", "modify=20261122135059;perm=adfr;size=3;type=file;unique=FE00U9A0337;UNIX.group=0;UNIX.groupname=65534;UNIX.mode=0644;UNIX.owner=0;UNIX.ownername=acme;  leading space",
		transfer.Info{Name: " leading space", Size: 3, Mode: 0o644, HasPerm: true, Owner: "acme", Group: "65534", ModTime: at("2026-11-22 13:50:59"), Precision: second}},
	{"proftpd 1.3.8, captured", "modify=20261122135059;perm=adfr;size=10;type=OS.unix=symlink;unique=FE00U9A0336;UNIX.group=0;UNIX.groupname=65534;UNIX.mode=0777;UNIX.owner=0;UNIX.ownername=acme; link",
		transfer.Info{Name: "link", Size: 10, Mode: link | 0o777, HasPerm: true, Owner: "acme", Group: "65534", ModTime: at("2026-11-22 13:50:59"), Precision: second}},
	{"proftpd 1.3.8, captured", "modify=20261122135059;perm=flcdmpe;type=cdir;unique=FE00U9A0327;UNIX.group=65534;UNIX.groupname=65534;UNIX.mode=0755;UNIX.owner=65534;UNIX.ownername=acme; .", transfer.Info{}},
	{"pure-ftpd 1.0.50, captured", "type=dir;sizd=4096;modify=20261122135103;UNIX.mode=0755;UNIX.uid=0;UNIX.gid=0;unique=fe00g98a121; in",
		transfer.Info{Name: "in", Size: unknown, Mode: dir | 0o755, HasPerm: true, Owner: "0", Group: "0", ModTime: at("2026-11-22 13:51:03"), Precision: second}},
	{"pure-ftpd 1.0.50, captured", "type=OS.unix=slink:;size=4;modify=20261122135103;UNIX.mode=0777;UNIX.uid=0;UNIX.gid=0;unique=fe00g98a141; dangling",
		transfer.Info{Name: "dangling", Size: 4, Mode: link | 0o777, HasPerm: true, Owner: "0", Group: "0", ModTime: at("2026-11-22 13:51:03"), Precision: second}},
	{"pure-ftpd 1.0.50, captured", "type=unknown;size=0;modify=20261122135103;UNIX.mode=0644;UNIX.uid=0;UNIX.gid=0;unique=fe00g98a161; fifo",
		transfer.Info{Name: "fifo", Size: 0, Mode: fs.ModeIrregular | 0o644, HasPerm: true, Owner: "0", Group: "0", ModTime: at("2026-11-22 13:51:03"), Precision: second}},
	{"pyftpdlib 1.5.7, captured", "modify=20261122135105;perm=radfwMT;size=3;type=file;unique=fe00g98a2d3; trailing space ",
		transfer.Info{Name: "trailing space ", Size: 3, ModTime: at("2026-11-22 13:51:05"), Precision: second}},
	{"pyftpdlib 1.5.7, captured", "modify=20261122135105;perm=eldfmMTcp;size=4096;type=dir;unique=fe00g98a2e2; in",
		transfer.Info{Name: "in", Size: 4096, Mode: dir, ModTime: at("2026-11-22 13:51:05"), Precision: second}},
	{"RFC 3659 §7.7.4", "Type=file;Size=25730;Modify=19940728095854.250;Perm=; cap60.pl198.tar.gz",
		transfer.Info{Name: "cap60.pl198.tar.gz", Size: 25730, ModTime: at("1994-07-28 09:58:54"), Precision: second}},
	{"RFC 3659 §7.7.4", "Type=OS.unix=slink:/foobar;Perm=;Unique=keVO1+4G4; foobar",
		transfer.Info{Name: "foobar", Size: unknown, Mode: link, Link: "/foobar"}},
	{"proftpd, FactsOptions UseSlink", "type=OS.unix=symlink; l",
		transfer.Info{Name: "l", Size: unknown, Mode: link}},
	{"RFC 3659 §7.7.4, no facts", " file name",
		transfer.Info{Name: "file name", Size: unknown}},
	{"mlst-06 draft, no semicolon at the end", "type=file name with spaces",
		transfer.Info{Name: "name with spaces", Size: unknown}},
	{"a tab between, FileZilla's tests", "size=1365694195;type=file;modify=20090722092510;\tadsl TV 2009-07-22",
		transfer.Info{Name: "adsl TV 2009-07-22", Size: 1365694195, ModTime: at("2009-07-22 09:25:10"), Precision: second}},
	{"white space at both ends, FileZilla's tests", "Type=file; \t name\t ",
		transfer.Info{Name: "\t name\t ", Size: unknown}},
	{"before 1970", "Type=file;mOdIfY=19681105165215;size=1234; old",
		transfer.Info{Name: "old", Size: 1234, ModTime: at("1968-11-05 16:52:15"), Precision: second}},
	{"a year counted from 1900, RFC 3659 §2.3", "type=file;modify=191040518090512; y2k",
		transfer.Info{Name: "y2k", Size: unknown, ModTime: at("2004-05-18 09:05:12"), Precision: second}},
	{"a device", "type=OS.unix=chr-5/1;UNIX.mode=0600; console",
		transfer.Info{Name: "console", Size: unknown, Mode: fs.ModeIrregular | 0o600, HasPerm: true}},
	{"figures that are none", "type=file;size=-5;modify=yesterday;UNIX.mode=9999; f",
		transfer.Info{Name: "f", Size: unknown}},
	{"the directory itself", "type=cdir;modify=20240518090512; /in", transfer.Info{}},
	{"its parent", "type=pdir;modify=20240518090512; ..", transfer.Info{}},
	{"nothing", "", transfer.Info{}},
}

func TestFacts(t *testing.T) {
	for _, test := range facts {
		got, ok := Facts(test.line)
		if ok != (test.want.Name != "") || ok && !same(got, test.want) {
			t.Errorf("%s: %q\n got %+v, %t\nwant %+v", test.source, test.line, got, ok, test.want)
		}
	}
	for _, line := range []string{"hello", "hello world"} {
		if got, ok := Facts(line); !ok || !errors.Is(got.Bad, ErrFormat) || got.Name != line {
			t.Errorf("%q: %+v, want it reported as unreadable", line, got)
		}
	}
}

func TestEntry(t *testing.T) {
	for line, want := range map[string]transfer.Info{
		" type=file;size=3; /in/a b":      {Size: 3},
		"type=dir;UNIX.mode=0755; /in":    {Size: unknown, Mode: dir | 0o755, HasPerm: true},
		"   Type=cdir; /":                 {Size: unknown, Mode: dir},
		" size=5;modify=20240518090512; ": {Size: 5, ModTime: at("2024-05-18 09:05:12"), Precision: second},
	} {
		if got, ok := Entry(line); !ok || !same(got, want) {
			t.Errorf("%q: %+v, %t; want %+v", line, got, ok, want)
		}
	}
	for _, line := range []string{"", " ", "Listing of x", " End"} {
		if got, ok := Entry(line); ok {
			t.Errorf("%q: %+v, want nothing", line, got)
		}
	}
}

// checked is what holds of every entry, whatever the line.
func checked(t *testing.T, line string, i transfer.Info) {
	if i.Bad == nil {
		if err := transfer.ValidName(i.Name); err != nil {
			t.Errorf("%q: %v, and not marked as bad", line, err)
		}
		if !strings.Contains(line, i.Name) && !strings.Contains(line, ";") {
			t.Errorf("%q: the name %q is not in the line", line, i.Name)
		}
	}
	if i.Size < -1 {
		t.Errorf("%q: size %d", line, i.Size)
	}
	if i.ModTime.IsZero() != (i.Precision == 0) {
		t.Errorf("%q: time %v of precision %v", line, i.ModTime, i.Precision)
	}
}

func FuzzLine(f *testing.F) {
	for _, test := range lists {
		f.Add(test.line, "")
	}
	f.Add("A_LONG_NAME.TXT;1", "   10   2-JUL-2003 10:30:08.59")
	f.Add("Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname", "V43525 Tape  A.TAPE")
	f.Fuzz(func(t *testing.T, first, second string) {
		p := &Parser{Now: now}
		n := 0
		add := func(i transfer.Info) error { n++; checked(t, first+"\n"+second, i); return nil }
		_ = p.Line(first, add)
		_ = p.Line(second, add)
		_ = p.End(add)
		if n > 2 {
			t.Errorf("%d entries in two lines", n)
		}
	})
}

func FuzzFacts(f *testing.F) {
	for _, test := range facts {
		f.Add(test.line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if i, ok := Facts(line); ok {
			checked(t, line+";", i)
		}
		if i, ok := Entry(line); ok && i.Size < -1 {
			t.Errorf("%q: size %d", line, i.Size)
		}
	})
}

func BenchmarkLine(b *testing.B) {
	p := &Parser{Now: now}
	add := func(transfer.Info) error { return nil }
	b.ReportAllocs()
	for b.Loop() {
		_ = p.Line("-rw-r--r--    1 1001     65534       12345 May 18 09:05 report.csv", add)
	}
}

func BenchmarkFacts(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Facts("modify=20240518090512;perm=adfrw;size=12345;type=file;unique=FD00U6416C2;UNIX.group=65534;UNIX.mode=0644;UNIX.owner=65534; report.csv")
	}
}
