package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
)

func (a *app) explainCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "explain CODE [TEXT] | sftp CODE | RULE",
		Short: "Say what a return code means and what xfer does about it",
		Long: `Say what a return code means, what usually causes it, what xfer does about it and
what you can do. With the server's words behind the code the answer is sharper.
The rule is what stands in brackets behind a failure.`,
		Example: `  xfer explain 425
  xfer explain sftp 4
  xfer explain '550 Permission denied'
  xfer explain net-refused
  xfer explain --all --json`,
		RunE: func(_ *cobra.Command, args []string) error {
			if all {
				return a.explainAll()
			}
			row, err := rowOf(args)
			if err != nil {
				return err
			}
			if a.flags.json {
				a.report.object(explanationOf(row))
				return nil
			}
			_, err = fmt.Fprint(a.report.stdout, explain(row))
			return err
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "list every code and cause")
	return cmd
}

// rowOf finds the row that the arguments name.
func rowOf(args []string) (policy.Row, error) {
	words := strings.Fields(strings.Join(args, " "))
	if len(words) == 0 {
		return policy.Row{}, usagef("explain needs a code: xfer explain 425, xfer explain sftp 4, xfer explain --all")
	}
	if row, ok := policy.RowOf(words[0]); ok {
		return row, nil
	}
	f := &policy.Fault{Phase: policy.Command}
	switch strings.ToLower(words[0]) {
	case "sftp":
		f.Protocol, words = policy.SFTP, words[1:]
	case "ftp", "ftps", "ftpes":
		f.Protocol, words = policy.FTP, words[1:]
	}
	number := ""
	if len(words) > 0 {
		number, f.Text = strings.TrimRight(words[0], "-:"), strings.Join(words[1:], " ")
	}
	code, err := strconv.Atoi(number)
	if err != nil {
		return policy.Row{}, usagef("no code or rule %q; all of them: xfer explain --all", strings.Join(args, " "))
	}
	f.Code = code
	if f.Protocol == policy.Local {
		// Without a protocol the number tells: FTP codes have three digits.
		f.Protocol = policy.FTP
		if code >= 0 && code < 100 {
			f.Protocol = policy.SFTP
		}
	}
	if _, ok := policy.Lookup(f.Protocol, code); !ok {
		return policy.Row{}, usagef("no code %d: FTP has 100 to 699, SFTP 0 to 31", code)
	}
	if f.Protocol == policy.FTP && code/10%10 == 3 {
		f.Phase = policy.Auth // x3z is about authentication
	}
	if code == 0 {
		row, _ := policy.Lookup(policy.SFTP, 0)
		return row, nil
	}
	return policy.RowFor(f), nil
}

// explain is a row for a person.
func explain(row policy.Row) string {
	v := row.Verdict(&policy.Fault{Protocol: row.Protocol, Code: row.Code})
	var b strings.Builder
	title := row.Name
	if row.Code != 0 {
		title = fmt.Sprintf("%s %d  %s", strings.ToUpper(row.Protocol.String()), row.Code, row.Name)
	}
	fmt.Fprintf(&b, "%s   [%s]\n\n", title, row.Rule)
	field := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-8s %s\n", name, text)
		}
	}
	field("means:", v.Means)
	name := "causes:"
	for _, cause := range row.Causes {
		field(name, "- "+cause)
		name = ""
	}
	field("xfer:", row.Does)
	field("next:", v.Next)
	field("exit:", fmt.Sprintf("%d (%s)", exitCodes[row.Kind].code, exitCodes[row.Kind].says))
	field("source:", row.Source)
	return b.String()
}

// explanation is a row for a program.
type explanation struct {
	Rule     string   `json:"rule"`
	Protocol string   `json:"protocol"`
	Code     int      `json:"code,omitempty"`
	Name     string   `json:"name"`
	Means    string   `json:"means"`
	Causes   []string `json:"causes,omitempty"`
	Does     string   `json:"does"`
	Next     string   `json:"next,omitempty"`
	Remedy   string   `json:"remedy"`
	Pace     string   `json:"pace"`
	Kind     string   `json:"kind"`
	ExitCode int      `json:"exit_code"`
	Source   string   `json:"source"`
}

func explanationOf(row policy.Row) explanation {
	v := row.Verdict(&policy.Fault{Protocol: row.Protocol, Code: row.Code})
	return explanation{
		Rule: row.Rule, Protocol: row.Protocol.String(), Code: row.Code, Name: row.Name, Means: v.Means,
		Causes: row.Causes, Does: row.Does, Next: v.Next, Remedy: row.Remedy.String(), Pace: row.Pace.String(),
		Kind: row.Kind.String(), ExitCode: exitCodes[row.Kind].code, Source: row.Source,
	}
}

func (a *app) explainAll() error {
	w := tabwriter.NewWriter(a.report.stdout, 0, 0, 2, ' ', 0)
	for _, row := range policy.Rows() {
		if a.flags.json {
			a.report.object(explanationOf(row))
			continue
		}
		code := ""
		if row.Code != 0 {
			code = strconv.Itoa(row.Code)
		}
		if _, err := fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", row.Rule, row.Remedy, exitCodes[row.Kind].code, code, row.Name); err != nil {
			return err
		}
	}
	return w.Flush()
}
