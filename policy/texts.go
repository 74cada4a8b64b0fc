package policy

// The words by which servers tell causes apart. Names of files are taken out
// of a text before it is matched. A text in another language matches nothing
// and is judged by its code, which is always safe.
var (
	saysMissing = words(`no such (file|dir|path)|\bnot (be )?(found|exist)|(can'?t|cannot|could ?n[o']t|unable to) (find|locate)|does ?n[o']t exist`)
	saysEither  = words(`(no such|not found|not exist).*\bor\b.*(denied|permission|access|privilege)|(denied|permission|access|privilege).*\bor\b.*(no such|not found|not exist)`)

	saysPermission = words(`permission|\bdenied\b|not (authori[sz]ed|permitted)|not allowed to|(insufficient|no|not enough) (rights?|privileges?)|read-?only`)
	saysReadOnly   = words(`read-only file ?system|write[- ]protected`)
	saysPolicy     = words(`(type|extension)s?\b.{0,30}\bnot (allowed|permitted)|virus`)

	saysSpace = words(`no space\b|(disk|device|volume|file ?system|storage) (is )?full|out of (disk )?space|(insufficient|not enough) (free |disk |storage )*(space|storage|room)`)
	saysQuota = words(`quota|(space|storage) limit`)

	saysBusy    = words(`being used|\bin use\b|\block(ed)?\b|\bbusy\b|sharing violation`)
	saysHandles = words(`too many open files`)

	saysExists       = words(`already exist|(file|directory|destination) exists`)
	saysDirectory    = words(`is a directory|not a (plain|regular) file|only retrieve regular files`)
	saysNotDirectory = words(`not a directory|directory name is invalid`)
	saysNotEmpty     = words(`not empty`)
	saysTooLong      = words(`(name|path|extension) (is )?too long`)
	saysName         = words(`(illegal|prohibited|forbidden) (file|directory|path|name|character)|(invalid|bad) character|volume label syntax`)
	saysCrossDevice  = words(`cross-device|different disk drive`)
	saysLoop         = words(`too many levels of symbolic links|link loop`)

	saysIdle        = words(`\bidle\b|timed?[ -]?out|inactiv|no transfer|time limit`)
	saysMaintenance = words(`shut(ting)? ?down|maintenance|going down|restarting`)
	saysLimit       = words(`too many|\bmaximum\b|\blimit\b|already (connected|logged in)|more than \d+ (connection|session|user)|only .{1,20}(session|connection)|simultaneous|concurrent`)
	saysLater       = words(`overloaded|try (again |back )?later`)

	// saysRefused: user or password is wrong, or was too often. It must be
	// looked for before saysLimit: "Too many authentication failures".
	saysRefused = words(`too many (authentication|login|password) (failures|attempts|tries|errors)|too many (failures|tries|failed|bad|invalid|incorrect|wrong|unsuccessful)` +
		`|max\w* (number of )?(login|password|authentication) (attempts|tries|failures)` +
		`|(log ?in|log ?on|password|authenti\w+|credentials?)\b[^.;]{0,30}\b(incorrect|failed|failure|invalid|wrong|rejected)` +
		`|(incorrect|failed|failure|invalid|bad|wrong)\b[^.;]{0,20}\b(log ?in|password|authenti\w+|credentials?|user)` +
		`|account\b[^.;]{0,20}\b(locked|disabled|expired)|\bbanned\b`)

	saysNeedsTLS    = words(`must use (encryption|tls|ssl)|(tls|ssl|encryption|secure connection)[^.;]{0,20}\b(required|needed|mandatory)|requires? (tls|ssl|encryption|a secure)|needs? (tls|ssl|(a )?secure)|use (explicit )?(tls|ssl|auth)\b|cleartext sessions`)
	saysNoTLS       = words(`(may|can) ?not use (encryption|tls|ssl)`)
	saysTLSSession  = words(`(tls|ssl)[^.;]{0,60}(resum|reus)|session (re-?use|resum)|unable to build data connection: operation not permitted`)
	saysDataClear   = words(`data connections? must be (encrypted|secure|protected)|(tls|ssl)[^.;]{0,20}required on the data`)
	saysProtocol    = words(`network protocol|protocol not supported|use \([12,]+\)`)
	saysOops        = words(`^OOPS`)
	saysOopsConfig  = words(`^OOPS.*(refusing to run|change directory|chroot|config|unrecogni[sz]ed variable|bad bool|log file|pasv_address|not found|cannot (find|locate|open|read))`)
	saysNothingHere = words(`no files|no such|\bnot found\b|empty`)

	// saysOneAtATime are the greetings of FTP servers that lose commands which come
	// together: lftp's list (ftp:auto-sync-mode).
	saysOneAtATime = words(`Microsoft FTP Service|MadGoat|MikroTik`)

	// saysPatient are those of servers that read no command while data moves, and
	// answer it afterwards: vsftpd 3.0.3. proftpd 1.3.8 says 450 to one that comes
	// then, pure-ftpd 1.0.50 throws it away.
	saysPatient = words(`\(vsFTPd `)

	// saysClientCert are the alerts about a certificate of ours, as package
	// crypto/tls words them: a server has no other certificate to complain about.
	saysClientCert = words(`certificate`)

	// saysTruncated: pure-ftpd lists 10,000 entries and then says "226-Output
	// truncated to 10000 matches", proftpd's ListOptions do the same.
	saysTruncated = words(`truncated`)

	// saysUnread: vsftpd 3.0.3 of a directory that may be entered and not read, "226
	// Transfer done (but failed to open directory)."
	saysUnread = words(`failed to open directory`)
)

// Operations that share a meaning.
var (
	dataOps    = []string{"STOR", "APPE", "STOU", "RETR", "LIST", "NLST", "MLSD"}
	storeOps   = []string{"STOR", "APPE", "STOU", "MKD"}
	listOps    = []string{"LIST", "NLST", "MLSD"}
	secureOps  = []string{"AUTH", "PBSZ", "PROT"}
	addressOps = []string{"EPSV", "EPRT", "PASV", "PORT"}
	// createOps may fail for the file or for the directory it goes into.
	createOps = []string{"open", "create", "mkdir", "rename", "posix-rename", "symlink", "link"}
	lookOps   = []string{"stat", "lstat", "opendir", "remove", "rmdir", "readlink"}
)

// beforeLogin are the phases in which a refusal is one of the login;
// afterLogin those in which the login had succeeded.
var (
	beforeLogin = []Phase{Connect, Auth}
	afterLogin  = []Phase{Command, Data, Finish}
)

// wordings is the one table that reads server texts. The first row that fits
// decides, so the particular stands before the general, and what gives up
// before what tries again. A refinement of a 5xx code tries again only where
// the words say that it passes, and never longer than Limits.Tries.
var wordings = []wording{
	// A server process that dies in the middle of a session.
	{protocol: FTP, codes: []int{500}, words: saysOopsConfig, rule: "ftp-500-oops-config", says: "vsftpd"},
	{protocol: FTP, codes: []int{500}, words: saysOops, rule: "ftp-500-oops", says: "vsftpd"},

	// TLS that is refused, demanded, or not resumed.
	{protocol: FTP, codes: []int{500, 501, 502, 503, 504, 530, 534, 550}, ops: secureOps, rule: string(CauseClearText), says: "any server without TLS; vsftpd answers AUTH with 530, IIS with 534"},
	{protocol: FTP, codes: []int{425, 450, 522, 550}, words: saysTLSSession, rule: string(CauseDataTLS), says: "vsftpd 522, FileZilla Server 425 (0.9: 450), proftpd 425 \"Operation not permitted\""},
	{protocol: FTP, codes: []int{521, 522, 530, 550}, words: saysDataClear, rule: "ftp-522-clear", says: "vsftpd 522, pyftpdlib 550"},
	{protocol: FTP, codes: []int{522}, words: saysProtocol, rule: "ftp-522-protocol", says: "vsftpd, pyftpdlib"},
	{protocol: FTP, codes: []int{522}, ops: addressOps, rule: "ftp-522-protocol", says: "any server (RFC 2428)"},
	{protocol: FTP, codes: []int{522}, ops: dataOps, rule: string(CauseDataTLS), says: "Serv-U, any server (RFC 4217)"},
	{protocol: FTP, codes: []int{530}, words: saysNoTLS, rule: "ftp-530-no-tls", says: "vsftpd: \"Anonymous sessions may not use encryption.\""},
	{protocol: FTP, codes: []int{421}, words: saysNeedsTLS, rule: "ftp-421-tls", says: "pure-ftpd: \"cleartext sessions … are not accepted\""},
	{protocol: FTP, codes: []int{500, 503, 504, 530, 550}, words: saysNeedsTLS, rule: "ftp-530-tls", says: "vsftpd, Serv-U 530; proftpd, pyftpdlib 550; FileZilla Server 503 \"Use AUTH first\""},

	// The login.
	{protocol: FTP, codes: []int{530}, phases: beforeLogin, words: saysRefused, rule: "ftp-530", says: "any server"},
	{protocol: FTP, codes: []int{421}, words: saysRefused, rule: "ftp-430", says: "pure-ftpd: \"Too many authentication failures\""},
	{protocol: FTP, codes: []int{450, 451, 452}, phases: beforeLogin, words: saysRefused, rule: "ftp-430", says: "servers whose user directory answers with 4yz"},
	{protocol: FTP, codes: []int{530}, phases: beforeLogin, words: saysLimit, rule: "ftp-530-limit", says: "proftpd \"maximum number of clients\", Serv-U \"only 2 sessions from same IP\""},
	{protocol: FTP, codes: []int{530}, phases: beforeLogin, words: saysLater, rule: "ftp-530-limit", says: "wu-ftpd"},
	{protocol: FTP, codes: []int{530}, phases: afterLogin, rule: "ftp-530-session", says: "any server"},
	{protocol: FTP, codes: []int{550, 553}, phases: []Phase{Auth}, rule: "ftp-530", says: "proftpd refuses USER with 550"},

	// The end of a session.
	{protocol: FTP, codes: []int{421}, words: saysIdle, rule: "ftp-421-idle", says: "proftpd, vsftpd, pure-ftpd, pyftpdlib, FileZilla Server"},
	{protocol: FTP, codes: []int{421}, words: saysLimit, rule: "ftp-421-limit", says: "vsftpd, proftpd, pure-ftpd, pyftpdlib, Apache FtpServer"},
	{protocol: FTP, codes: []int{421}, words: saysMaintenance, rule: "ftp-421-maintenance", says: "any server that is being stopped"},

	// Files, "not now".
	{protocol: FTP, codes: []int{450}, ops: listOps, words: saysNothingHere, rule: "ftp-450-listing", says: "proftpd \"No files found\", FileZilla Server"},
	{protocol: FTP, codes: []int{450, 451, 452}, words: saysQuota, rule: string(CauseRemoteQuota), says: "Serv-U 452"},
	{protocol: FTP, codes: []int{450, 451}, words: saysSpace, rule: string(CauseRemoteSpace), says: "proftpd 451"},
	{protocol: FTP, codes: []int{450}, words: saysBusy, rule: "ftp-450", says: "any server"},

	// Files, "no".
	{protocol: FTP, codes: []int{550, 553}, words: saysEither, rule: "ftp-550", says: "servers that say \"not found or access denied\""},
	{protocol: FTP, codes: []int{550, 553}, ops: storeOps, words: saysMissing, rule: string(CauseRemoteParentMissing), says: "proftpd, pure-ftpd, pyftpdlib, IIS"},
	{protocol: FTP, codes: []int{550, 553}, ops: []string{"RNTO"}, words: saysMissing, rule: "ftp-550", says: "any server: the source or the directory of the target"},
	{protocol: FTP, codes: []int{501, 550, 553}, words: saysMissing, rule: "ftp-550-missing", says: "any server"},
	{protocol: FTP, codes: []int{501, 550, 553}, words: saysQuota, rule: "ftp-550-quota", says: "proftpd, pyftpdlib"},
	{protocol: FTP, codes: []int{501, 550, 552, 553}, words: saysSpace, rule: "ftp-550-space", says: "pyftpdlib, IIS 550, pure-ftpd 552, Serv-U 501 to ALLO"},
	{protocol: FTP, codes: []int{550, 553}, words: saysBusy, rule: "ftp-550-busy", says: "IIS: \"being used by another process\", Serv-U, pyftpdlib"},
	{protocol: FTP, codes: []int{550}, words: saysHandles, rule: string(CauseRemoteHandles), says: "proftpd, pyftpdlib"},
	{protocol: FTP, codes: []int{550, 553}, words: saysReadOnly, rule: string(CauseRemoteReadOnly), says: "proftpd, pyftpdlib, IIS"},
	{protocol: FTP, codes: []int{501, 550, 553}, words: saysNotDirectory, rule: string(CauseRemoteNotDirectory), says: "proftpd, pyftpdlib, Serv-U 501, IIS"},
	{protocol: FTP, codes: []int{550, 553}, words: saysDirectory, rule: string(CauseRemoteDirectory), says: "proftpd, pure-ftpd, wu-ftpd"},
	{protocol: FTP, codes: []int{550, 553}, words: saysNotEmpty, rule: string(CauseRemoteNotEmpty), says: "proftpd, pyftpdlib, IIS"},
	{protocol: FTP, codes: []int{521, 550, 553}, ops: []string{"MKD"}, words: saysExists, rule: "ftp-550-mkd", says: "proftpd, pure-ftpd, pyftpdlib, IIS"},
	{protocol: FTP, codes: []int{550, 553}, words: saysExists, rule: string(CauseRemoteExists), says: "pure-ftpd: \"destination file already exists\", IIS"},
	{protocol: FTP, codes: []int{501, 550, 553}, words: saysTooLong, rule: string(CauseRemoteNameTooLong), says: "proftpd, pyftpdlib, IIS"},
	{protocol: FTP, codes: []int{501, 550, 553}, words: saysName, rule: string(CauseRemoteName), says: "pure-ftpd: \"Prohibited file name\", IIS"},
	{protocol: FTP, codes: []int{550, 553}, words: saysCrossDevice, rule: string(CauseRemoteCrossDevice), says: "proftpd, pyftpdlib"},
	{protocol: FTP, codes: []int{550}, words: saysLoop, rule: string(CauseRemoteLoop), says: "proftpd, pyftpdlib"},
	{protocol: FTP, codes: []int{550, 553}, words: saysPolicy, rule: string(CauseRemotePolicy), says: "servers that filter by file type or scan for viruses"},
	{protocol: FTP, codes: []int{501, 550, 553}, words: saysPermission, rule: "ftp-550-permission", says: "any server"},
	{protocol: FTP, codes: []int{521, 550, 553}, ops: []string{"MKD"}, rule: "ftp-550-mkd", says: "vsftpd: \"Create directory operation failed.\""},

	// SFTP: OpenSSH puts only the name of the code there, others the words of
	// the operating system.
	{protocol: SFTP, codes: []int{1}, ops: []string{"write"}, rule: "sftp-1-write", says: "any server"},
	{protocol: SFTP, codes: []int{2}, ops: createOps, rule: "sftp-2-parent", says: "any server"},
	{protocol: SFTP, codes: []int{3, 4}, words: saysReadOnly, rule: string(CauseRemoteReadOnly), says: "servers on pkg/sftp, Windows servers"},
	{protocol: SFTP, codes: []int{4}, ops: lookOps, words: saysMissing, rule: string(CauseRemoteMissing), says: "Windows servers"},
	{protocol: SFTP, codes: []int{4}, words: saysQuota, rule: string(CauseRemoteQuota), says: "proftpd mod_sftp, SFTPGo \"denying write due to space limit\""},
	{protocol: SFTP, codes: []int{4}, words: saysSpace, rule: string(CauseRemoteSpace), says: "servers on pkg/sftp, proftpd mod_sftp \"Out of disk space\", Windows servers"},
	{protocol: SFTP, codes: []int{4}, words: saysHandles, rule: string(CauseRemoteHandles), says: "servers on pkg/sftp"},
	{protocol: SFTP, codes: []int{3, 4}, words: saysBusy, rule: string(CauseRemoteBusy), says: "servers on pkg/sftp \"text file busy\", Windows servers"},
	{protocol: SFTP, codes: []int{4}, words: saysNotDirectory, rule: string(CauseRemoteNotDirectory), says: "servers on pkg/sftp, proftpd mod_sftp"},
	{protocol: SFTP, codes: []int{4}, words: saysDirectory, rule: string(CauseRemoteDirectory), says: "servers on pkg/sftp, proftpd mod_sftp \"File is a directory\""},
	{protocol: SFTP, codes: []int{4}, words: saysNotEmpty, rule: string(CauseRemoteNotEmpty), says: "servers on pkg/sftp, proftpd mod_sftp, Windows servers"},
	{protocol: SFTP, codes: []int{4}, words: saysExists, rule: string(CauseRemoteExists), says: "servers on pkg/sftp, proftpd mod_sftp, Windows servers"},
	{protocol: SFTP, codes: []int{4}, words: saysCrossDevice, rule: string(CauseRemoteCrossDevice), says: "servers on pkg/sftp, proftpd mod_sftp"},
	{protocol: SFTP, codes: []int{4, 5}, words: saysTooLong, rule: string(CauseRemoteNameTooLong), says: "servers on pkg/sftp, Windows servers"},
	{protocol: SFTP, codes: []int{4, 5}, words: saysName, rule: string(CauseRemoteName), says: "Windows servers"},
	{protocol: SFTP, codes: []int{4}, words: saysLoop, rule: string(CauseRemoteLoop), says: "servers on pkg/sftp, proftpd mod_sftp"},
	{protocol: SFTP, codes: []int{4}, words: saysPermission, rule: string(CauseRemotePermission), says: "Windows servers \"Access is denied\""},
}
