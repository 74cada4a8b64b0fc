package policy

// Classify says what a fault means. It is pure: the same fault gives the same
// verdict on every machine and at any time.
//
// The order is from the particular to the general: a cause that the adapter
// saw, the server's words where the table knows them, the code, the class of
// the code, and last the phase, when nobody said anything.
func Classify(f *Fault) Verdict {
	row := RowFor(f)
	if row.Remedy == Proceed {
		// A failure that carries a success: replies and requests are out of step.
		row = *index.byRule[string(CauseDesync)]
	}
	v := row.Verdict(f)
	if f.Phase == Finish && lost(f, v) {
		// The confirmation is missing, not the deed: only a look can tell.
		v.Remedy = Reconcile
	}
	return v
}

// RowFor gives the row of the catalogue that a fault belongs to.
func RowFor(f *Fault) Row {
	if f.Cause != "" {
		if r := index.byRule[string(f.Cause)]; r != nil {
			return *r
		}
	}
	if f.Code != 0 {
		if rule := ruleByText(f); rule != "" {
			return *index.byRule[rule]
		}
		if r, ok := Lookup(f.Protocol, f.Code); ok {
			return r
		}
	}
	return *index.byRule["no-reply-"+f.Phase.String()]
}

// lost says that the confirmation of a completed operation never came, or that
// what came instead was the last breath of a dying connection.
func lost(f *Fault, v Verdict) bool {
	if v.Remedy == GiveUp || v.Remedy == Diagnose {
		return false
	}
	return f.Code == 0 || v.Remedy == Reconnect
}

// Found is the verdict of a diagnosis: the row of rule, filled from the fault,
// with what was seen. An unknown rule is a bug of the caller and panics, so
// that a test finds it.
func Found(f *Fault, rule, evidence string) Verdict {
	r := index.byRule[rule]
	if r == nil {
		panic("policy: no such rule: " + rule)
	}
	v := r.Verdict(f)
	v.Evidence = evidence
	return v
}
