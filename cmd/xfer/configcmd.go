package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Look at the configuration", Args: noSuchCommand, RunE: help}
	cmd.AddCommand(&cobra.Command{
		Use:   "check",
		Short: "Read the configuration and name every problem in it",
		Args:  exactly(0, "config check takes no arguments"),
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			path, _ := a.configPath()
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				path += " (does not exist, which is fine)"
			}
			_, err = fmt.Fprintf(a.report.stdout, "ok: %s, sites: %d\n", path, len(cfg.Sites))
			return err
		},
	})
	return cmd
}
