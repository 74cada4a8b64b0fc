package policy

// causeRows are the failures that no code names.
var causeRows = []Row{
	{
		Rule: string(CauseRefused), Protocol: Net, Name: "connection refused",
		Head:   "{host} does not accept connections on this port",
		Means:  "nothing listens there now, or a firewall refuses us",
		Causes: []string{"the server is down or being restarted", "wrong port", "a firewall"},
		Does:   "tries again with growing delays",
		Next:   "check host and port; test with: nc -vz {host} PORT",
		Remedy: Retry, Kind: KindTemporary,
		Source: "connect(2) ECONNREFUSED",
	},
}
