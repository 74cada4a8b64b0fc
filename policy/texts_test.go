package policy

import (
	"encoding/base64"
	"strings"
	"testing"
)

// Texts as servers send them: from their sources, their documentation and
// reports of their users.
func TestServerTexts(t *testing.T) {
	for _, c := range []struct {
		protocol Protocol
		phase    Phase
		op       string
		code     int
		text     string
		rule     string
	}{
		// 421
		{FTP, Command, "STOR", 421, "Idle timeout (600 seconds): closing control connection", "ftp-421-idle"},          // proftpd
		{FTP, Command, "STOR", 421, "No transfer timeout (600 seconds): closing control connection", "ftp-421-idle"},   // proftpd
		{FTP, Auth, "PASS", 421, "Login timeout (300 seconds): closing control connection", "ftp-421-idle"},            // proftpd
		{FTP, Command, "STOR", 421, "Timeout.", "ftp-421-idle"},                                                        // vsftpd
		{FTP, Data, "STOR", 421, "Data timeout. Reconnect. Sorry.", "ftp-421-idle"},                                    // vsftpd
		{FTP, Command, "LIST", 421, "Timeout - try typing a little faster next time", "ftp-421-idle"},                  // pure-ftpd
		{FTP, Data, "STOR", 421, "Timeout (no new data for 60 seconds)", "ftp-421-idle"},                               // pure-ftpd
		{FTP, Command, "STOR", 421, "Control channel timed out.", "ftp-421-idle"},                                      // pyftpdlib
		{FTP, Command, "STOR", 421, "Connection timed out.", "ftp-421-idle"},                                           // FileZilla Server
		{FTP, Connect, "greeting", 421, "There are too many connected users, please try later.", "ftp-421-limit"},      // vsftpd
		{FTP, Connect, "greeting", 421, "There are too many connections from your internet address.", "ftp-421-limit"}, // vsftpd
		{FTP, Connect, "greeting", 421, "Too many connections (8) from this IP", "ftp-421-limit"},                      // pure-ftpd
		{FTP, Connect, "greeting", 421, "50 users (the maximum) are already logged in, sorry", "ftp-421-limit"},        // pure-ftpd
		{FTP, Auth, "PASS", 421, "I can't accept more than 2 connections as the same user", "ftp-421-limit"},           // pure-ftpd
		{FTP, Connect, "greeting", 421, "Too many connections from the same IP address.", "ftp-421-limit"},             // pyftpdlib
		{FTP, Connect, "greeting", 421, "Maximum anonymous login limit has been reached.", "ftp-421-limit"},            // Apache FtpServer
		{FTP, Command, "STOR", 421, "FTP server shutting down, sorry", "ftp-421-maintenance"},                          // proftpd
		{FTP, Connect, "greeting", 421, "Server is down for maintenance", "ftp-421-maintenance"},
		{FTP, Connect, "greeting", 421, "Service not available.", "ftp-421"},                 // vsftpd, tcp_wrappers
		{FTP, Connect, "greeting", 421, "Service not available, try again later", "ftp-421"}, // not ours to blame
		{FTP, Auth, "PASS", 421, "Too many authentication failures", "ftp-430"},              // pure-ftpd
		{FTP, Auth, "PASS", 421, "Maximum login attempts exceeded", "ftp-430"},
		{FTP, Auth, "PASS", 421, "Login incorrect.", "ftp-430"},
		{FTP, Auth, "USER", 421, "Sorry, cleartext sessions and weak ciphers are not accepted on this server. / Please reconnect using SSL/TLS security mechanisms.", "ftp-421-tls"}, // pure-ftpd

		{FTP, Command, "STOR", 421, "You were idle for too long", "ftp-421-idle"},
		{FTP, Command, "STOR", 421, "Disconnected after 300 seconds of inactivity", "ftp-421-idle"},
		{FTP, Command, "STOR", 421, "No transfer for 600 seconds", "ftp-421-idle"},
		{FTP, Command, "STOR", 421, "Session time limit exceeded", "ftp-421-idle"},
		{FTP, Command, "STOR", 421, "System going down at 14:00", "ftp-421-maintenance"}, // wu-ftpd
		{FTP, Command, "STOR", 421, "Server is restarting", "ftp-421-maintenance"},
		{FTP, Connect, "greeting", 421, "Simultaneous logins exceeded", "ftp-421-limit"},
		{FTP, Connect, "greeting", 421, "Concurrent session count reached", "ftp-421-limit"},
		{FTP, Auth, "USER", 421, "This user is already logged in", "ftp-421-limit"},
		{FTP, Connect, "greeting", 421, "Your address is banned", "ftp-430"},

		// 530
		{FTP, Auth, "PASS", 530, "Login incorrect.", "ftp-530"},                                       // vsftpd, proftpd
		{FTP, Auth, "PASS", 530, "Login authentication failed", "ftp-530"},                            // pure-ftpd
		{FTP, Auth, "PASS", 530, "User cannot log in.", "ftp-530"},                                    // IIS
		{FTP, Auth, "PASS", 530, "User cannot log in, home directory inaccessible.", "ftp-530"},       // IIS
		{FTP, Auth, "USER", 530, "This FTP server is anonymous only.", "ftp-530"},                     // vsftpd
		{FTP, Auth, "PASS", 530, "Not logged in, too many tries with incorrect password.", "ftp-530"}, // Serv-U
		{FTP, Auth, "PASS", 530, "Too many failed login attempts, please try again later", "ftp-530"},
		{FTP, Auth, "PASS", 530, "Login incorrect, try again later", "ftp-530"},
		{FTP, Auth, "PASS", 530, "Account temporarily locked, try again later", "ftp-530"},
		{FTP, Auth, "PASS", 530, "Too many login attempts.", "ftp-530"},
		{FTP, Auth, "PASS", 530, "Too many failures", "ftp-530"},
		{FTP, Auth, "PASS", 530, "Maximum login attempts", "ftp-530"},
		{FTP, Auth, "PASS", 530, "Invalid credentials, try again later", "ftp-530"},
		{FTP, Auth, "PASS", 530, "Wrong password; your limit is 3", "ftp-530"},
		{FTP, Auth, "PASS", 530, "", "ftp-530"},
		{FTP, Connect, "greeting", 530, "Access refused", "ftp-530"},
		{FTP, Auth, "PASS", 530, "Sorry, the maximum number of clients (3) for this user are already connected.", "ftp-530-limit"},              // proftpd
		{FTP, Auth, "PASS", 530, "Sorry, the maximum number of connections (10) for your host are already connected.", "ftp-530-limit"},         // proftpd
		{FTP, Auth, "USER", 530, "Not logged in, only one session from same IP allowed at a time.", "ftp-530-limit"},                            // Serv-U
		{FTP, Auth, "USER", 530, "Not logged in, only 2 sessions from same IP allowed concurrently.", "ftp-530-limit"},                          // Serv-U
		{FTP, Auth, "USER", 530, "User anonymous access denied. / Access denied due to active ftp login limit of 30 sessions", "ftp-530-limit"}, // wu-ftpd
		{FTP, Connect, "greeting", 530, "Too many connections", "ftp-530-limit"},
		{FTP, Auth, "USER", 530, "Server is overloaded", "ftp-530-limit"},
		{FTP, Auth, "USER", 530, "Please try again later.", "ftp-530-limit"},
		{FTP, Auth, "USER", 530, "This server requires TLS", "ftp-530-tls"},
		{FTP, Auth, "USER", 530, "Non-anonymous sessions must use encryption.", "ftp-530-tls"}, // vsftpd
		{FTP, Auth, "USER", 530, "Anonymous sessions must use encryption.", "ftp-530-tls"},     // vsftpd
		{FTP, Auth, "PASS", 530, "Not logged in, need secure connection.", "ftp-530-tls"},      // Serv-U
		{FTP, Auth, "USER", 530, "Authentication failed because TLS is required", "ftp-530-tls"},
		{FTP, Auth, "USER", 550, "SSL/TLS required on the control channel", "ftp-530-tls"},       // proftpd
		{FTP, Auth, "USER", 550, "SSL/TLS required on the control channel.", "ftp-530-tls"},      // pyftpdlib
		{FTP, Auth, "USER", 503, "Use AUTH first.", "ftp-530-tls"},                               // FileZilla Server 1.x
		{FTP, Auth, "USER", 534, "Policy requires SSL.", "ftp-534"},                              // IIS
		{FTP, Auth, "USER", 530, "Anonymous sessions may not use encryption.", "ftp-530-no-tls"}, // vsftpd
		{FTP, Command, "MLSD", 530, "Please login with USER and PASS.", "ftp-530-session"},       // vsftpd
		{FTP, Data, "STOR", 530, "Not logged in.", "ftp-530-session"},
		{FTP, Finish, "STOR", 530, "Not logged in.", "ftp-530-session"},
		{FTP, Auth, "USER", 550, "No such user", "ftp-530"},
		{FTP, Auth, "PASS", 451, "Authentication failed", "ftp-430"},
		{FTP, Auth, "PASS", 451, "Can't reach the user directory", "ftp-451"},
		// TLS
		{FTP, Connect, "AUTH", 530, "Please login with USER and PASS.", "ftp-clear-text"},                              // vsftpd without TLS
		{FTP, Connect, "AUTH", 534, "Local policy on server does not allow TLS secure connections.", "ftp-clear-text"}, // IIS
		{FTP, Connect, "AUTH", 502, "Command not implemented", "ftp-clear-text"},
		{FTP, Connect, "AUTH", 431, "Unable to negotiate secure command connection.", "ftp-431"}, // Serv-U
		{FTP, Auth, "PROT", 536, "Requested PROT level not supported", "ftp-536"},
		{FTP, Auth, "PROT", 504, "PROT not supported", "ftp-clear-text"},
		{FTP, Data, "STOR", 425, "Unable to build data connection: TLS session of data connection not resumed.", "ftp-data-tls-session"},                        // FileZilla Server 1.x
		{FTP, Data, "LIST", 450, "TLS session of data connection has not resumed or the session does not match the control", "ftp-data-tls-session"},            // FileZilla Server 0.9
		{FTP, Data, "STOR", 425, "Unable to build data connection: Operation not permitted", "ftp-data-tls-session"},                                            // proftpd
		{FTP, Data, "STOR", 522, "SSL connection failed; session reuse required: see require_ssl_reuse option in vsftpd.conf man page", "ftp-data-tls-session"}, // vsftpd
		{FTP, Data, "RETR", 522, "SSL connection failed: session reuse required", "ftp-data-tls-session"},                                                       // vsftpd
		{FTP, Data, "RETR", 522, "SSL/TLS lib refuses to initiate secure data connection.", "ftp-data-tls-session"},                                             // Serv-U
		{FTP, Data, "RETR", 522, "Data connections must be encrypted.", "ftp-522-clear"},                                                                        // vsftpd
		{FTP, Data, "LIST", 550, "SSL/TLS required on the data channel.", "ftp-522-clear"},                                                                      // pyftpdlib
		{FTP, Data, "STOR", 521, "Data connection cannot be opened with this PROT setting.", "ftp-521"},                                                         // pure-ftpd
		{FTP, Data, "EPSV", 522, "Network protocol not supported, use (1,2)", "ftp-522-protocol"},                                                               // RFC 2428
		{FTP, Data, "EPRT", 522, "Bad network protocol.", "ftp-522-protocol"},                                                                                   // vsftpd
		{FTP, Data, "EPSV", 522, "", "ftp-522-protocol"},
		{FTP, Data, "STOR", 522, "Network protocol not available", "ftp-522-protocol"},
		{FTP, Data, "STOR", 522, "Protocol not supported", "ftp-522-protocol"},
		{FTP, Data, "STOR", 522, "Please use (1,2)", "ftp-522-protocol"},
		{FTP, Data, "STOR", 425, "Session reuse required", "ftp-data-tls-session"},
		{FTP, Command, "NOOP", 522, "", "ftp-522"},
		{FTP, Data, "STOR", 425, "Failed to establish connection.", "ftp-425"},                                 // vsftpd
		{FTP, Data, "STOR", 425, "Security: Bad IP connecting.", "ftp-425"},                                    // vsftpd
		{FTP, Data, "STOR", 425, "Could not open data connection to port 5000: Connection refused", "ftp-425"}, // pure-ftpd

		// vsftpd's last words
		{FTP, Command, "STOR", 500, "OOPS: vsf_sysutil_recv_peek: no data", "ftp-500-oops"},
		{FTP, Command, "PASS", 500, "OOPS: child died", "ftp-500-oops"},
		{FTP, Auth, "PASS", 500, "OOPS: priv_sock_get_cmd", "ftp-500-oops"},
		{FTP, Auth, "PASS", 500, "OOPS: vsftpd: refusing to run with writable root inside chroot()", "ftp-500-oops-config"},
		{FTP, Auth, "PASS", 500, "OOPS: cannot change directory:/home/tails", "ftp-500-oops-config"},
		{FTP, Data, "PASV", 500, "OOPS: invalid pasv_address", "ftp-500-oops-config"},
		{FTP, Connect, "greeting", 500, "OOPS: bad bool value in config file for: ssl_enable", "ftp-500-oops-config"},
		{FTP, Command, "MLSD", 500, "Unknown command.", "ftp-500"},

		// 450, 451, 452
		{FTP, Command, "NLST", 450, "No files found", "ftp-450-listing"},                  // proftpd
		{FTP, Command, "LIST", 450, "/pub: No such file or directory", "ftp-450-listing"}, // proftpd
		{FTP, Command, "MLSD", 450, "Directory not found", "ftp-450-listing"},
		{FTP, Command, "LIST", 450, "Directory is empty", "ftp-450-listing"},
		{FTP, Command, "RETR", 450, "No such file", "ftp-450"}, // only a listing is ambiguous
		{FTP, Command, "LIST", 450, "Listing aborted", "ftp-450"},
		{FTP, Command, "STOR", 450, "File is in use by another user", "ftp-450"},
		{FTP, Command, "STOR", 450, "Requested file action not taken", "ftp-450"},
		{FTP, Finish, "STOR", 451, "No space left on device", "remote-space"},   // proftpd
		{FTP, Finish, "STOR", 451, "Failure writing to local file.", "ftp-451"}, // vsftpd
		{FTP, Finish, "STOR", 451, "Quota exceeded: [a.csv] won't be saved", "remote-quota"},
		{FTP, Finish, "STOR", 452, "Sorry, insufficient disk quota - receive file aborted.", "remote-quota"}, // Serv-U
		{FTP, Finish, "STOR", 452, "Insufficient storage space", "ftp-452"},                                  // the code says it already
		{FTP, Finish, "STOR", 426, "Data connection closed, cannot write file - disk full?", "ftp-426"},      // Serv-U: look first

		// 550 and its kin
		{FTP, Command, "STOR", 550, "Permission denied.", "ftp-550-permission"},
		{FTP, Command, "STOR", 550, "Access is denied.", "ftp-550-permission"}, // IIS
		{FTP, Command, "MKD", 550, "Permission denied", "ftp-550-permission"},
		{FTP, Command, "DELE", 550, "Operation not permitted", "ftp-550-permission"},
		{FTP, Command, "MKD", 550, "Sorry, anonymous users are not allowed to create directories", "ftp-550-permission"}, // pure-ftpd
		{FTP, Command, "SITE", 501, "Permission denied.", "ftp-550-permission"},                                          // Serv-U
		{FTP, Command, "RETR", 550, "a.csv: No such file or directory", "ftp-550-missing"},
		{FTP, Command, "RETR", 550, "The system cannot find the file specified. / Win32 error: The system cannot find the file specified.", "ftp-550-missing"}, // IIS
		{FTP, Command, "RETR", 550, "File not found", "ftp-550-missing"},
		{FTP, Command, "DELE", 550, "Sorry, but that file doesn't exist", "ftp-550-missing"}, // pure-ftpd
		{FTP, Command, "RETR", 550, "File not found or access denied", "ftp-550"},
		{FTP, Command, "RETR", 550, "Permission denied or no such file", "ftp-550"},
		{FTP, Command, "STOR", 550, "You don't have permission to write here", "ftp-550-permission"},
		{FTP, Command, "STOR", 550, "Insufficient rights", "ftp-550-permission"},
		{FTP, Command, "STOR", 550, "This server is read-only", "ftp-550-permission"},
		{FTP, Command, "STOR", 550, "Sharing violation", "ftp-550-busy"},
		{FTP, Command, "CWD", 550, "The directory name is invalid.", "remote-not-directory"}, // IIS
		{FTP, Command, "STOR", 550, "Invalid character in file name", "remote-name"},
		{FTP, Command, "STOR", 550, "Virus found", "remote-policy"},
		{FTP, Command, "STOR", 550, "in/a.csv: No such file or directory", "remote-parent-missing"},                                    // proftpd
		{FTP, Command, "STOR", 553, "Can't open that file: No such file or directory", "remote-parent-missing"},                        // pure-ftpd
		{FTP, Command, "MKD", 550, "The system cannot find the path specified.", "remote-parent-missing"},                              // IIS
		{FTP, Command, "RNTO", 550, "Rename a.csv: No such file or directory", "ftp-550"},                                              // source or target
		{FTP, Command, "RETR", 550, "Failed to open file.", "ftp-550"},                                                                 // vsftpd: missing or closed
		{FTP, Command, "STOR", 553, "Could not create file.", "ftp-553"},                                                               // vsftpd
		{FTP, Command, "STOR", 553, "File name not allowed", "ftp-553"},                                                                // the RFC's own words say little
		{FTP, Command, "STOR", 550, "Filename invalid", "ftp-550"},                                                                     // FileZilla Server 0.9: also a missing directory
		{FTP, Command, "LIST", 550, "No files found.", "ftp-550"},                                                                      // Serv-U
		{FTP, Command, "STOR", 550, "The process cannot access the file because it is being used by another process.", "ftp-550-busy"}, // IIS
		{FTP, Command, "STOR", 550, "Text file busy", "ftp-550-busy"},
		{FTP, Command, "DELE", 553, "File is locked", "ftp-550-busy"},
		{FTP, Command, "STOR", 550, "Transfer blocked", "ftp-550"},                                           // "blocked" is not "locked"
		{FTP, Finish, "STOR", 550, "There is not enough space on the disk.", "ftp-550-space"},                // IIS
		{FTP, Finish, "STOR", 552, "Disk full - please upload later", "ftp-550-space"},                       // pure-ftpd
		{FTP, Command, "ALLO", 501, "Not enough space, only 10 Bytes available on drive C", "ftp-550-space"}, // Serv-U
		{FTP, Command, "STOR", 501, "No spaces allowed in file names", "ftp-501"},
		{FTP, Finish, "STOR", 552, "Requested file action aborted. Exceeded storage allocation.", "ftp-552"},
		{FTP, Finish, "STOR", 552, "Transfer aborted. Disk quota exceeded", "ftp-552"}, // proftpd mod_quotatab
		{FTP, Finish, "STOR", 550, "Disk quota exceeded", "ftp-550-quota"},             // proftpd
		{FTP, Command, "STOR", 550, "Too many open files", "remote-handles"},
		{FTP, Command, "STOR", 550, "Read-only file system", "remote-read-only"},
		{FTP, Command, "STOR", 550, "The media is write protected.", "remote-read-only"}, // IIS
		{FTP, Command, "CWD", 550, "Not a directory", "remote-not-directory"},
		{FTP, Command, "CWD", 501, "Not a directory.", "remote-not-directory"}, // Serv-U
		{FTP, Command, "STOR", 550, "in: Is a directory", "remote-is-directory"},
		{FTP, Command, "SIZE", 550, "not a plain file.", "remote-is-directory"},                 // wu-ftpd
		{FTP, Command, "RETR", 550, "in: not a regular file", "remote-is-directory"},            // proftpd
		{FTP, Command, "RETR", 550, "I can only retrieve regular files", "remote-is-directory"}, // pure-ftpd
		{FTP, Command, "RMD", 550, "Directory not empty", "remote-not-empty"},
		{FTP, Command, "RNTO", 550, "Cannot create a file when that file already exists.", "remote-exists"}, // IIS
		{FTP, Command, "RNTO", 553, "RENAME Failed - destination file already exists", "remote-exists"},     // pure-ftpd
		{FTP, Command, "MKD", 550, "in: File exists", "ftp-550-mkd"},                                        // proftpd
		{FTP, Command, "MKD", 521, "\"/in\" directory already exists; taking no action", "ftp-550-mkd"},     // RFC 959 Appendix II
		{FTP, Command, "MKD", 550, "Create directory operation failed.", "ftp-550-mkd"},                     // vsftpd
		{FTP, Command, "MKD", 550, "", "ftp-550-mkd"},
		{FTP, Command, "STOR", 550, "File name too long", "remote-name-too-long"},
		{FTP, Command, "STOR", 553, "Prohibited file name: .ftpaccess", "remote-name"},                                   // pure-ftpd
		{FTP, Command, "STOR", 550, "The filename, directory name, or volume label syntax is incorrect.", "remote-name"}, // IIS
		{FTP, Command, "RNTO", 550, "Invalid cross-device link", "remote-cross-device"},
		{FTP, Command, "RETR", 550, "Too many levels of symbolic links", "remote-link-loop"},
		{FTP, Command, "STOR", 550, "Upload rejected: file type not allowed", "remote-policy"},
		{FTP, Command, "STOR", 550, "", "ftp-550"},
		{FTP, Command, "STOR", 550, "Die Datei wird von einem anderen Prozess verwendet", "ftp-550"}, // another language: the code decides

		// SFTP
		{SFTP, Data, "write", 1, "End of file", "sftp-1-write"},
		{SFTP, Data, "read", 1, "End of file", "sftp-1"},
		{SFTP, Command, "stat", 2, "No such file", "sftp-2"},
		{SFTP, Command, "open", 2, "No such file", "sftp-2-parent"},
		{SFTP, Command, "rename", 2, "No such file", "sftp-2-parent"},
		{SFTP, Command, "mkdir", 2, "No such file", "sftp-2-parent"},
		{SFTP, Command, "open", 3, "Permission denied", "sftp-3"},
		{SFTP, Command, "open", 3, "open a.csv: read-only file system", "remote-read-only"},
		{SFTP, Data, "write", 4, "Failure", "sftp-4"},
		{SFTP, Command, "rename", 4, "Failure", "sftp-4"},
		{SFTP, Data, "write", 4, "write a.csv: no space left on device", "remote-space"},             // pkg/sftp
		{SFTP, Data, "write", 4, "Out of disk space", "remote-space"},                                // proftpd mod_sftp
		{SFTP, Data, "write", 4, "There is not enough space on the disk.", "remote-space"},           // Windows
		{SFTP, Data, "write", 4, "write a.csv: disk quota exceeded", "remote-quota"},                 // pkg/sftp
		{SFTP, Command, "open", 4, "denying write due to space limit", "remote-quota"},               // SFTPGo
		{SFTP, Command, "mkdir", 4, "mkdir in: file exists", "remote-exists"},                        // pkg/sftp
		{SFTP, Command, "rename", 4, "File already exists", "remote-exists"},                         // proftpd mod_sftp
		{SFTP, Command, "open", 4, "open in: is a directory", "remote-is-directory"},                 // pkg/sftp
		{SFTP, Command, "open", 4, "File is a directory", "remote-is-directory"},                     // proftpd mod_sftp
		{SFTP, Command, "open", 4, "open a/b: not a directory", "remote-not-directory"},              // pkg/sftp
		{SFTP, Command, "rmdir", 4, "remove in: directory not empty", "remote-not-empty"},            // pkg/sftp
		{SFTP, Command, "rmdir", 4, "Directory is not empty", "remote-not-empty"},                    // proftpd mod_sftp
		{SFTP, Command, "rename", 4, "rename a b: invalid cross-device link", "remote-cross-device"}, // pkg/sftp
		{SFTP, Command, "rename", 4, "The system cannot move the file to a different disk drive.", "remote-cross-device"},
		{SFTP, Command, "open", 4, "open x: file name too long", "remote-name-too-long"},
		{SFTP, Command, "open", 5, "file name too long", "remote-name-too-long"},
		{SFTP, Command, "open", 5, "Bad message", "sftp-5"},
		{SFTP, Command, "open", 4, "open a.csv: too many open files", "remote-handles"},
		{SFTP, Command, "open", 4, "open a.csv: text file busy", "remote-busy"},
		{SFTP, Command, "open", 4, "The process cannot access the file because it is being used by another process.", "remote-busy"},
		{SFTP, Command, "open", 4, "too many levels of symbolic links", "remote-link-loop"},
		{SFTP, Command, "open", 4, "The media is write protected.", "remote-read-only"},
		{SFTP, Command, "stat", 4, "The system cannot find the file specified.", "remote-missing"},
		{SFTP, Command, "open", 4, "The system cannot find the path specified.", "sftp-4"}, // file or directory: look
		{SFTP, Command, "open", 4, "Access is denied.", "remote-permission"},
		{SFTP, Command, "open", 4, "The filename, directory name, or volume label syntax is incorrect.", "remote-name"},
		{SFTP, Command, "open", 4, "Link loop", "remote-link-loop"}, // proftpd mod_sftp
		{SFTP, Command, "open", 8, "Operation unsupported", "sftp-8"},
	} {
		f := &Fault{Protocol: c.protocol, Phase: c.phase, Op: c.op, Code: c.code, Text: c.text}
		if got := RowFor(f).Rule; got != c.rule {
			t.Errorf("%v %v %s: %d %s\n  got  %s\n  want %s", c.protocol, c.phase, c.op, c.code, c.text, got, c.rule)
		}
		// In capitals it means the same.
		f.Text = strings.ToUpper(c.text)
		if got := RowFor(f).Rule; got != c.rule {
			t.Errorf("%d %s: got %s, want %s", c.code, f.Text, got, c.rule)
		}
	}
}

// A name that reads like a reason is not one.
func TestNamesAreNotReasons(t *testing.T) {
	for _, c := range []struct {
		protocol   Protocol
		op, path   string
		code       int
		text, rule string
	}{
		{protocol: FTP, op: "STOR", path: "in/quota exceeded.csv", code: 550, text: "in/quota exceeded.csv: Permission denied", rule: "ftp-550-permission"},
		{protocol: FTP, op: "RETR", path: "disk full.txt", code: 550, text: "disk full.txt: No such file or directory", rule: "ftp-550-missing"},
		{protocol: FTP, op: "RETR", path: "permission denied", code: 550, text: "Can't open permission denied: No such file or directory", rule: "ftp-550-missing"},
		{protocol: FTP, op: "STOR", path: "in/locked.txt", code: 550, text: "/home/acme/in/locked.txt: not opened", rule: "ftp-550"},
		{protocol: FTP, op: "STOR", path: "a.txt", code: 550, text: "/srv/in-use/busy/a.txt could not be opened", rule: "ftp-550"},
		{protocol: FTP, op: "STOR", path: "a.txt", code: 550, text: `"C:\locked\a.txt": refused`, rule: "ftp-550"},
		{protocol: FTP, op: "STOR", path: "a.txt", code: 550, text: `C:\busy\a.txt: refused`, rule: "ftp-550"},
		{protocol: FTP, op: "STOR", path: "in/ISDN", code: 550, text: "in/isdn is a directory", rule: "remote-is-directory"},
		{protocol: SFTP, op: "open", path: "/in/no space left on device", code: 4, text: "open /in/no space left on device: too many open files", rule: "remote-handles"},
		{protocol: SFTP, op: "open", path: "/in/file exists", code: 4, text: "Failure: /in/file exists", rule: "sftp-4"},
		// A short name must not eat the words around it.
		{protocol: FTP, op: "STOR", path: "in", code: 550, text: "insufficient space", rule: "ftp-550-space"},
		{protocol: FTP, op: "STOR", path: ".", code: 550, text: "Permission denied.", rule: "ftp-550-permission"},
		{protocol: FTP, op: "STOR", path: "", code: 550, text: "Permission denied", rule: "ftp-550-permission"},
		// Bytes that are no text.
		{protocol: FTP, op: "STOR", path: "in/\xff\xfe", code: 550, text: Sanitize("in/\xff\xfe: Permission denied"), rule: "ftp-550-permission"},
	} {
		f := &Fault{Protocol: c.protocol, Phase: Command, Op: c.op, Path: c.path, Code: c.code, Text: c.text}
		if got := RowFor(f).Rule; got != c.rule {
			t.Errorf("%q: got %s, want %s", c.text, got, c.rule)
		}
	}
}

// Every row of the table decides something: a row that another one always
// precedes would be dead.
func TestNoRowOfTheTextsIsDead(t *testing.T) {
	for i, w := range wordings {
		for _, before := range wordings[:i] {
			if before.protocol != w.protocol || before.words != w.words && before.words != nil {
				continue
			}
			if covers(before.codes, w.codes) && (before.ops == nil || w.ops != nil && covers(before.ops, w.ops)) &&
				(before.phases == nil || w.phases != nil && covers(before.phases, w.phases)) {
				t.Errorf("row %d (%v → %s) is never reached: %s comes first", i, w.codes, w.rule, before.rule)
			}
		}
	}
}

func covers[T comparable](all, some []T) bool {
	for _, s := range some {
		found := false
		for _, a := range all {
			found = found || a == s
		}
		if !found {
			return false
		}
	}
	return true
}

func TestProtectedReplies(t *testing.T) {
	wrap := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, c := range []struct {
		name string
		code int
		text string
		rule string
	}{
		{"a refusal in clear text", 631, wrap("550 Permission denied\r\n"), "ftp-550-permission"},
		{"without a line end", 632, wrap("450 File is busy"), "ftp-450"},
		{"the code alone decides", 633, wrap("452 Insufficient storage space\r\n"), "ftp-452"},
		{"several lines", 632, wrap("550-Sorry\r\n550 Disk quota exceeded\r\n"), "ftp-550-quota"},
		{"an unnamed code inside", 631, wrap("549 what\r\n"), "ftp-5yz"},
		{"an unnamed code outside", 640, wrap("550 No such file\r\n"), "ftp-550-missing"},
		{"a success inside", 631, wrap("226 Transfer complete\r\n"), "ftp-631"},
		{"an intermediate reply inside", 632, wrap("331 Password required\r\n"), "ftp-632"},
		{"a preliminary reply inside", 633, wrap("150 Opening\r\n"), "ftp-633"},
		{"protected once more", 631, wrap("632 " + wrap("550 no\r\n") + "\r\n"), "ftp-631"},
		{"ciphertext", 632, wrap("\x8a\x01\xf0\x00Z\x19"), "ftp-632"},
		{"text with a checksum", 631, wrap("550 no\r\n\x00\x01\x02"), "ftp-631"},
		{"no base64", 631, "550 Permission denied", "ftp-631"},
		{"no reply", 632, wrap("hello"), "ftp-632"},
		{"nothing", 633, "", "ftp-633"},
		{"unnamed", 699, "", "ftp-6yz"},
	} {
		f := &Fault{Protocol: FTP, Phase: Command, Op: "RETR", Code: c.code, Text: c.text}
		v := Classify(f)
		if v.Rule != c.rule {
			t.Errorf("%s: %s, want %s", c.name, v.Rule, c.rule)
		}
		if v.Kind == KindOK || v.Remedy == Proceed {
			t.Errorf("%s: a protected reply was taken for a success: %+v", c.name, v)
		}
	}
}

func FuzzClassify(f *testing.F) {
	f.Add(uint8(FTP), uint8(Command), "STOR", 550, "in/a.csv", "in/a.csv: Permission denied")
	f.Add(uint8(FTP), uint8(Auth), "PASS", 530, "", "Sorry, the maximum number of clients (3)")
	f.Add(uint8(FTP), uint8(Finish), "RNTO", 632, "a", base64.StdEncoding.EncodeToString([]byte("226 done\r\n")))
	f.Add(uint8(FTP), uint8(Finish), "STOR", 631, "a", base64.StdEncoding.EncodeToString([]byte("550-a\r\n550 no\r\n")))
	f.Add(uint8(SFTP), uint8(Data), "write", 4, "(", "no space left on device")
	f.Add(uint8(SFTP), uint8(Command), "open", 2, "\xff[a-", "\xff[a-: no such file")
	f.Add(uint8(Net), uint8(Connect), "dial", 0, "", "")
	f.Fuzz(func(t *testing.T, protocol, phase uint8, op string, code int, path, text string) {
		fault := &Fault{Protocol: Protocol(protocol % 6), Phase: Phase(phase % 5), Op: op, Path: path, Code: code, Text: Sanitize(text)}
		row := RowFor(fault)
		if _, ok := RowOf(row.Rule); !ok && row.Protocol != SFTP { // unassigned SFTP codes have a row of their own
			t.Errorf("no such rule: %q", row.Rule)
		}
		if code >= 400 && code <= 699 && fault.Protocol == FTP && (row.Remedy == Proceed || row.Kind == KindOK) {
			t.Errorf("%d taken for a success: %s", code, row.Rule)
		}
		v := Classify(fault)
		if v.Kind == KindOK || v.Remedy == Proceed || v.Head == "" || v.Means == "" {
			t.Errorf("a fault without a failure: %+v", v)
		}
		if v.Login && v.Remedy != GiveUp {
			t.Errorf("a refused login repeated: %+v", v)
		}
	})
}

// TestAlertCause: what servers say of a certificate of ours, and what not.
func TestAlertCause(t *testing.T) {
	for alert, want := range map[string]Cause{
		"certificate required":           CauseClientCert, // TLS 1.3, none was shown
		"bad certificate":                CauseClientCert, // one that can't be read or verified
		"unknown certificate authority":  CauseClientCert,
		"expired certificate":            CauseClientCert,
		"handshake failure":              CauseTLS, // TLS 1.2, none was shown; and much else
		"protocol version not supported": CauseTLS,
		"":                               CauseTLS,
	} {
		if got := AlertCause(alert); got != want {
			t.Errorf("%q: %s, want %s", alert, got, want)
		}
	}
}

func TestGreetings(t *testing.T) {
	for greeting, want := range map[string]struct{ oneAtATime, patient bool }{
		"Microsoft FTP Service":                {true, false},
		"Welcome\nMikroTik FTP server":         {true, false},
		"(vsFTPd 3.0.3)":                       {false, true},
		"ProFTPD Server (xfer) [127.0.0.1]":    {false, false},
		"Welcome to vsFTPd's rival, pure-ftpd": {false, false},
		"pyftpdlib 1.5.7 ready.":               {false, false},
		"":                                     {false, false},
	} {
		if one, patient := OneAtATime(greeting), Patient(greeting); one != want.oneAtATime || patient != want.patient {
			t.Errorf("%q: %t, %t", greeting, one, patient)
		}
	}
}
