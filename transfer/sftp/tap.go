package sftp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/xfer-cli/xfer/policy"
)

const (
	// maxPacket is the longest packet in bytes that is accepted; OpenSSH and
	// the library send and take no more.
	maxPacket = 256 << 10
	// ownIDs is where the numbers of our requests begin. The library counts
	// from 1 and does not get there.
	ownIDs = 1 << 31
	// foreign marks a status code that the library must not recognise.
	foreign = 1 << 16
)

// errNotSFTP: what comes on the channel are no SFTP packets. A shell that
// greets, or a forced command, prints text there.
var errNotSFTP = errors.New("the answer is not SFTP")

// errLost: the channel ended while an answer was due.
var errLost = errors.New("channel closed")

// tap sits between the SSH channel and the library and sees every packet, both
// ways. It lets this package make requests of its own between those of the
// library, and keeps the server's words from being lost: a status that the
// library would turn into a bare os.ErrNotExist, os.ErrPermission or io.EOF
// reaches it with a code that it does not know.
//
// It costs nothing on file data: of an answer only the header is looked at, and
// its data is read to where it is wanted.
type tap struct {
	ch io.ReadWriteCloser

	// Only the library's reader uses these: it drives the tap by reading.
	in    *bufio.Reader
	head  [headerLen + 4]byte
	ready []byte // of head, due to the library
	rest  int    // bytes of the library's packet that are still to come
	turns int    // how many of our requests have been answered
	// foretold: the library has got a greeting before the server's came.
	foretold bool

	// opened: SSH_FXP_VERSION has come. heard is closed then, or when it can't come
	// any more.
	opened atomic.Bool
	heard  chan struct{}
	once   sync.Once // of heard
	// extensions are those of the greeting, the foretold one until there is another.
	extensions atomic.Pointer[[]string]
	// answered: something has come behind the greeting.
	answered atomic.Bool

	// Only the library's writers, one at a time, use this.
	held []byte // of a packet that is not complete

	sending sync.Mutex // one packet at a time

	mu      sync.Mutex
	nextID  uint32
	waiting map[uint32]*reply // a nil reply is one that nobody waits for
	err     error             // why nothing more comes
}

// reply is the answer to a request of our own, complete once done gives a value.
type reply struct {
	done chan struct{}
	// into gives what takes the data of SSH_FXP_DATA, when it comes: a request
	// that is under way needs no memory.
	into func() []byte

	turn   int // its place among the answers
	kind   byte
	n      int    // bytes of data
	fields fields // of every other kind; for a status without its code
	code   uint32 // of a status
	err    error  // the channel ended, or the answer is malformed
}

var replies = sync.Pool{New: func() any { return &reply{done: make(chan struct{}, 1)} }}

// newTap taps ch; moved is told of every n bytes that pass, in or out.
func newTap(ch io.ReadWriteCloser) *tap {
	// Large reads bypass the buffer: it saves the small ones of the headers.
	return &tap{ch: ch, in: bufio.NewReaderSize(ch, 512), heard: make(chan struct{}), waiting: map[uint32]*reply{}}
}

// Read gives the library its packets and keeps ours.
func (t *tap) Read(p []byte) (int, error) {
	for len(t.ready) == 0 && t.rest == 0 {
		if err := t.next(); err != nil {
			t.fail(err)
			return 0, err
		}
	}
	if len(t.ready) > 0 {
		n := copy(p, t.ready)
		t.ready = t.ready[n:]
		return n, nil
	}
	n, err := t.in.Read(p[:min(len(p), t.rest)])
	t.rest -= n
	if err != nil {
		t.fail(err)
	}
	return n, err
}

// next reads the header of a packet and, if the packet is ours, all of it.
func (t *tap) next() error {
	if _, err := io.ReadFull(t.in, t.head[:5]); err != nil {
		return err
	}
	length, kind := int(binary.BigEndian.Uint32(t.head[:4])), t.head[4]
	switch {
	case !t.opened.Load() && (length > maxPacket || length < 5 || kind != fxpVersion):
		return t.notSFTP()
	case !t.opened.Load():
		return t.greeting(length)
	case length > maxPacket || length < 5:
		return fmt.Errorf("%w: type %d, length %d", errMalformed, kind, length)
	}
	t.answered.Store(true)
	if _, err := io.ReadFull(t.in, t.head[5:headerLen]); err != nil {
		return err
	}
	rest := length - (headerLen - 4)
	if id := binary.BigEndian.Uint32(t.head[5:]); id >= ownIDs {
		return t.deliver(id, kind, rest)
	}
	t.ready, t.rest = t.head[:headerLen], rest
	if kind == fxpStatus && rest >= 4 {
		if _, err := io.ReadFull(t.in, t.head[headerLen:]); err != nil {
			return err
		}
		if code := binary.BigEndian.Uint32(t.head[headerLen:]); code != fxOK {
			binary.BigEndian.PutUint32(t.head[headerLen:], code|foreign)
		}
		t.ready, t.rest = t.head[:], rest-4
	}
	return nil
}

// foretell gives the library the greeting that is expected, so that requests may
// follow ours at once. To be called before anything is read.
func (t *tap) foretell(extensions []string) {
	r := request{0, 0, 0, 0, fxpVersion}.uint32(protocolVersion)
	for _, name := range extensions {
		r = r.string(name).string("")
	}
	binary.BigEndian.PutUint32(r, uint32(len(r)-4))
	t.ready, t.foretold = r, true
	t.extensions.Store(&extensions)
}

// greeting reads SSH_FXP_VERSION, for the library unless it has got one.
func (t *tap) greeting(length int) error {
	b := append(make([]byte, 0, 4+length), t.head[:5]...)[:4+length]
	if _, err := io.ReadFull(t.in, b[5:]); err != nil {
		return err
	}
	f := fields{b: b[5:]}
	speaks := f.uint32()
	extensions := []string{}
	for len(f.b) > 0 && f.err == nil {
		extensions = append(extensions, f.string())
		f.string() // of no interest
	}
	t.extensions.Store(&extensions)
	t.opened.Store(true)
	switch {
	case !t.foretold:
		t.ready = b
	case speaks != protocolVersion || f.err != nil:
		return fmt.Errorf("%w: greeting of version %d", errMalformed, speaks)
	}
	t.once.Do(func() { close(t.heard) })
	return nil
}

// offers says whether the server has the extension.
func (t *tap) offers(extension string) bool {
	e := t.extensions.Load()
	return e != nil && slices.Contains(*e, extension)
}

// notSFTP quotes what came instead of a packet.
func (t *tap) notSFTP() error {
	text := append([]byte(nil), t.head[:5]...)
	more, _ := t.in.Peek(t.in.Buffered())
	text = append(text, more...)
	// A greeting may come behind the words.
	if end := bytes.IndexFunc(text, func(r rune) bool { return r == utf8.RuneError || r < '\t' }); end > 0 {
		text = text[:end]
	}
	return fmt.Errorf("%w but %q", errNotSFTP, policy.Sanitize(string(text)))
}

// deliver reads the rest of an answer to one of our requests.
func (t *tap) deliver(id uint32, kind byte, rest int) error {
	t.mu.Lock()
	r, asked := t.waiting[id]
	delete(t.waiting, id)
	t.mu.Unlock()
	switch {
	case !asked:
		return fmt.Errorf("%w: an answer to no request", errMalformed)
	case r == nil:
		_, err := t.in.Discard(rest)
		return err
	}
	t.turns++
	r.turn = t.turns
	err := t.fill(r, kind, rest)
	r.err = err
	r.done <- struct{}{}
	return err
}

func (t *tap) fill(r *reply, kind byte, rest int) error {
	r.kind = kind
	if kind == fxpStatus || kind == fxpData {
		var number [4]byte
		if rest < len(number) {
			return errMalformed
		}
		if _, err := io.ReadFull(t.in, number[:]); err != nil {
			return err
		}
		r.code, rest = binary.BigEndian.Uint32(number[:]), rest-len(number)
	}
	switch {
	case kind == fxpStatus && r.code == fxOK:
	case kind == fxpData:
		if r.into == nil || r.code > uint32(rest) {
			return errMalformed
		}
		into := r.into()
		if r.code > uint32(len(into)) {
			return fmt.Errorf("%w: more data than asked for", errMalformed)
		}
		r.n = int(r.code)
		if _, err := io.ReadFull(t.in, into[:r.n]); err != nil {
			return err
		}
		rest -= r.n
	default:
		r.fields = fields{b: make([]byte, rest)}
		_, err := io.ReadFull(t.in, r.fields.b)
		return err
	}
	_, err := t.in.Discard(rest)
	return err
}

// Write sends the library's packets, which come in up to two pieces, in one.
func (t *tap) Write(p []byte) (int, error) {
	t.held = append(t.held, p...)
	if len(t.held) < 4 || len(t.held) < 4+int(binary.BigEndian.Uint32(t.held)) {
		return len(p), nil
	}
	t.sending.Lock()
	defer t.sending.Unlock()
	_, err := t.ch.Write(t.held)
	t.held = t.held[:0]
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends the channel.
func (t *tap) Close() error {
	t.fail(errLost)
	return t.ch.Close()
}

// start sends a request of our own: a packet whose length and number are filled
// in here. into takes the data of the answer. A reply whose err is set has not
// been sent.
func (t *tap) start(packet []byte, into func() []byte) *reply {
	r := replies.Get().(*reply)
	*r = reply{done: r.done, into: into}
	if err := t.send(packet, r); err != nil {
		r.err = err
		r.done <- struct{}{}
	}
	return r
}

// post sends a request whose answer is of no interest.
func (t *tap) post(packet []byte) { _ = t.send(packet, nil) }

func (t *tap) send(packet []byte, r *reply) error {
	t.mu.Lock()
	if t.err != nil {
		defer t.mu.Unlock()
		return t.err
	}
	id := ownIDs | t.nextID
	t.nextID++
	t.waiting[id] = r
	t.mu.Unlock()

	binary.BigEndian.PutUint32(packet, uint32(len(packet)-4))
	binary.BigEndian.PutUint32(packet[5:], id)
	t.sending.Lock()
	_, err := t.ch.Write(packet)
	t.sending.Unlock()
	if err == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ours := t.waiting[id]; !ours {
		return nil // fail has told the reply already
	}
	delete(t.waiting, id)
	return err
}

// fail ends all waiting requests.
func (t *tap) fail(err error) {
	if err == io.EOF {
		err = errLost
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return
	}
	t.err = err
	t.once.Do(func() { close(t.heard) })
	for id, r := range t.waiting {
		delete(t.waiting, id)
		if r != nil {
			r.err = err
			r.done <- struct{}{}
		}
	}
}

// failed says why the channel is of no more use, nil if it is.
func (t *tap) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// release gives a reply back. Its fields must not be used any more.
func (r *reply) release() { replies.Put(r) }

// is checks an answer that has come; a status other than OK becomes a *status.
func (r *reply) is(kind byte) error {
	switch {
	case r.err != nil:
		return r.err
	case r.kind == fxpStatus && r.code != fxOK:
		return &status{code: r.code, text: policy.Sanitize(r.fields.string())}
	case r.kind != kind:
		return fmt.Errorf("%w: answer of type %d, want %d", errMalformed, r.kind, kind)
	}
	return nil
}
