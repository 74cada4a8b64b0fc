package ledger

// applicationID marks a database as ours (PRAGMA application_id): "xfer".
const applicationID = 0x78666572

// migrations lead from one version of the tables to the next; the version of a
// file (PRAGMA user_version) is how many of them it has had. None is ever
// changed: the files out there were made by them. Times are in Unix
// milliseconds, the modification times of files in nanoseconds; 0 is unknown.
var migrations = []string{`
CREATE TABLE facts (
	host   TEXT NOT NULL, -- scheme://host:port
	name   TEXT NOT NULL,
	value  TEXT NOT NULL,
	reason TEXT NOT NULL,
	at     INTEGER NOT NULL,
	PRIMARY KEY (host, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE refusals (
	host        TEXT NOT NULL,
	user        TEXT NOT NULL,
	fingerprint BLOB NOT NULL, -- never the secret
	said        TEXT NOT NULL,
	at          INTEGER NOT NULL,
	PRIMARY KEY (host, user, fingerprint)
) STRICT, WITHOUT ROWID;

CREATE TABLE salt (value BLOB NOT NULL) STRICT;
INSERT INTO salt VALUES (randomblob(16));

CREATE TABLE runs (
	id      INTEGER PRIMARY KEY,
	job     TEXT NOT NULL,
	process TEXT NOT NULL,
	began   INTEGER NOT NULL,
	ended   INTEGER NOT NULL DEFAULT 0,
	outcome TEXT NOT NULL DEFAULT '', -- '' while it runs
	files   INTEGER NOT NULL DEFAULT 0,
	failed  INTEGER NOT NULL DEFAULT 0,
	skipped INTEGER NOT NULL DEFAULT 0,
	bytes   INTEGER NOT NULL DEFAULT 0,
	note    TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX runs_job ON runs (job, began);

CREATE TABLE deliveries (
	id       INTEGER PRIMARY KEY,
	run      INTEGER NOT NULL,
	job      TEXT NOT NULL,
	process  TEXT NOT NULL,
	partner  TEXT NOT NULL,
	source   TEXT NOT NULL,
	target   TEXT NOT NULL,
	size     INTEGER NOT NULL, -- -1 unknown
	mtime    INTEGER NOT NULL,
	sha256   TEXT NOT NULL,    -- hexadecimal, '' unknown
	stage    TEXT NOT NULL,
	note     TEXT NOT NULL,
	outcome  TEXT NOT NULL DEFAULT '', -- '' while it is under way
	attempts INTEGER NOT NULL DEFAULT 0,
	codes    TEXT NOT NULL DEFAULT '', -- separated by spaces
	rule     TEXT NOT NULL DEFAULT '',
	reply    TEXT NOT NULL DEFAULT '',
	bytes    INTEGER NOT NULL DEFAULT 0,
	began    INTEGER NOT NULL,
	ended    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX deliveries_name ON deliveries (source, target);
CREATE INDEX deliveries_open ON deliveries (id) WHERE outcome = '';
CREATE INDEX deliveries_began ON deliveries (began);
CREATE INDEX deliveries_job ON deliveries (job, began);
`, `
CREATE TABLE begun (
	what TEXT NOT NULL PRIMARY KEY,
	at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`}
