package lab

// Scene is one fault worth showing, with the server that has it. Exactly one of
// FTP and SFTP is set; Root, Addr and the login are up to the caller.
type Scene struct {
	// Name is short and stable: "busy".
	Name string
	// Fault says what the server does, in half a sentence.
	Fault string
	FTP   *FTPConfig
	SFTP  *SFTPConfig
}

// Names of the login in every scene, for the secrets of xfer demo.
const (
	SceneUser     = "demo"
	ScenePassword = "demo"
)

// Scenes are the faults of `xfer demo` and `xfer lab`. size is that of the file
// to be sent, in bytes.
func Scenes(size int64) []Scene {
	return []Scene{
		{
			Name:  "busy",
			Fault: "answers the first upload with 450, then works",
			FTP: &FTPConfig{Script: []Rule{
				{On: "STOR", Times: 1, Do: Reply(450, "File busy, try again later.")},
			}},
		},
		{
			Name:  "active-only",
			Fault: "answers 425 until the client uses active mode",
			FTP:   &FTPConfig{Modes: ActiveOnly(Data425)},
		},
		{
			Name:  "cut",
			Fault: "loses the connection once, at 60 % of the upload",
			FTP: &FTPConfig{Script: []Rule{
				{On: "STOR", When: During, After: size * 6 / 10, Times: 1, Do: DropData(RST).Then(Drop(RST))},
			}},
		},
		{
			Name:  "forbidden",
			Fault: "answers every upload with 550",
			FTP: &FTPConfig{Script: []Rule{
				{On: "STOR", Do: Reply(550, "Permission denied.")},
			}},
		},
		{
			Name:  "full",
			Fault: "has a full disk and says no more than SFTP code 4",
			SFTP:  &SFTPConfig{Volumes: []Volume{{Capacity: max(1, size/2)}}},
		},
	}
}

// Start runs the scene's server over the directory, with the login of every
// scene. trust is a file that makes a client trust it: known_hosts for SFTP, the
// authority's certificate for TLS, "" for plain FTP. The caller must Close the
// server.
func (s Scene) Start(root string) (srv *Server, trust string, err error) {
	if s.FTP != nil {
		cfg := *s.FTP
		cfg.Root, cfg.User, cfg.Password = root, SceneUser, ScenePassword
		f, err := StartFTP(cfg)
		if err != nil {
			return nil, "", err
		}
		if cfg.TLS != Plain {
			trust = f.CAFile()
		}
		return f.Server, trust, nil
	}
	cfg := *s.SFTP
	cfg.Root, cfg.User, cfg.Password = root, SceneUser, ScenePassword
	f, err := StartSFTP(cfg)
	if err != nil {
		return nil, "", err
	}
	return f.Server, f.KnownHostsFile(), nil
}
