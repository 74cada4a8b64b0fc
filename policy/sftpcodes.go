package policy

// sftpRows are the status codes of SFTP.
var sftpRows = []Row{
	{
		Rule: "sftp-4", Protocol: SFTP, Code: 4, Name: "SSH_FX_FAILURE",
		Means:  "the server said only \"Failure\", which OpenSSH answers for more than a dozen different causes",
		Causes: []string{"the disk is full or a quota is used up", "the target exists already or is a directory", "a rename across file systems", "a read-only file system", "a directory that is not empty"},
		Does:   "looks at the server for the cause and then does what fits the cause",
		Next:   "check the free space (df -h) and the target (xfer ls {dirurl}), and the server's log (/var/log/auth.log)",
		Remedy: Diagnose, Kind: KindRefused,
		Source: "draft-ietf-secsh-filexfer-02 §7",
	},
}
