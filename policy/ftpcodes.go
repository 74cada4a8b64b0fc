package policy

// ftpRows are the reply codes of FTP and FTPS.
var ftpRows = []Row{
	{
		Rule: "ftp-425", Protocol: FTP, Code: 425, Name: "Can't open data connection",
		Head:   "{host} could not open the data connection for {action}",
		Means:  "a firewall or NAT between you and {host} blocks the port that this transfer mode uses; the other mode uses another way",
		Causes: []string{"passive mode: the server's data ports are closed in a firewall", "active mode: your machine can't be reached from the server", "the server has run out of data ports"},
		Does:   "switches between passive and active mode at once, on the same login; if both fail, tries again with growing delays",
		Next:   "ask the server's operator to open the passive data ports, or try: xfer --mode active …",
		Remedy: SwitchMode, Kind: KindTemporary,
		Source: "RFC 959 §4.2.1",
	},
}
