package ftp_test

import "flag"

var showWire = flag.Bool("wire", false, "log the control connection")
