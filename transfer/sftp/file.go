package sftp

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"time"
)

// file is a handle of an open file on one channel.
type file struct {
	ch     *channel
	handle string
}

// openFile opens a file; flags are those of SSH_FXP_OPEN. It names no
// attributes: servers differ in what they make of them.
func (ch *channel) openFile(ctx context.Context, path string, flags uint32) (*file, error) {
	return ch.handle(ctx, newRequest(fxpOpen).string(path).uint32(flags).uint32(0))
}

// openNew opens a file for writing; mode are the permission bits of one that is
// made by that, 0 leaves them to the server.
func (ch *channel) openNew(ctx context.Context, path string, flags uint32, mode fs.FileMode) (*file, error) {
	if mode == 0 {
		return ch.openFile(ctx, path, flags)
	}
	return ch.handle(ctx, newRequest(fxpOpen).string(path).uint32(flags).uint32(attrMode).uint32(uint32(mode.Perm())))
}

// handle makes a request that is answered by a handle.
func (ch *channel) handle(ctx context.Context, r request) (*file, error) {
	answer, err := ch.exchange(ctx, ch.conn.limits.Reply, r)
	if err != nil {
		if answer != nil {
			// The handle may still come, and an open file is in others' way.
			go func() {
				<-answer.done
				if f, err := ch.opened(answer); err == nil {
					f.letGo()
				}
			}()
		}
		return nil, err
	}
	return ch.opened(answer)
}

func (ch *channel) opened(answer *reply) (*file, error) {
	defer answer.release()
	if err := answer.is(fxpHandle); err != nil {
		return nil, err
	}
	f := &file{ch: ch, handle: answer.fields.string()}
	if answer.fields.err == nil && len(f.handle) > 256 { // draft-ietf-secsh-filexfer-02 §6.3
		return nil, errMalformed
	}
	return f, answer.fields.err
}

// startRead asks for up to n bytes, for which into gives room.
func (f *file) startRead(n int, off int64, into func() []byte) *reply {
	r := newRequest(fxpRead).string(f.handle).uint64(uint64(off)).uint32(uint32(n))
	return f.ch.tap.start(r, into)
}

// read fetches a piece, for which provide gets room when the data comes. It
// returns fewer bytes only at the end of the file, or with an error. It waits as
// long as the connection lives.
func (f *file) read(p *chunk, provide func(*chunk)) (int, error) {
	n := 0
	for n < p.n {
		r := f.startRead(p.n-n, p.off+int64(n), func() []byte {
			provide(p)
			return p.data()[n:]
		})
		<-r.done
		m, err := r.data()
		if err != nil || m == 0 {
			return n, err
		}
		n += m
	}
	return n, nil
}

// data is the outcome of a READ: 0 at the end of the file.
func (r *reply) data() (int, error) {
	defer r.release()
	err := r.is(fxpData)
	if is(err, fxEOF) {
		return 0, nil
	}
	if err == nil && r.n == 0 {
		// The end of a file is a status; asking again could go on for ever.
		err = fmt.Errorf("%w: data without data", errMalformed)
	}
	return r.n, err
}

// startWrite sends a piece. Its data stays the caller's until the answer.
func (f *file) startWrite(p *chunk) *reply {
	// The header goes right in front of the data, which is not copied.
	header := headerLen + 4 + len(f.handle) + 8 + 4
	packet := p.raw[room-header : room+p.n]
	r := request(packet[:0])
	r = append(r, 0, 0, 0, 0, fxpWrite, 0, 0, 0, 0).string(f.handle).uint64(uint64(p.off))
	binary.BigEndian.PutUint32(packet[len(r):], uint32(p.n))
	return f.ch.tap.start(packet, nil)
}

// write sends a piece and waits for the answer as long as the connection lives.
func (f *file) write(p *chunk) error {
	r := f.startWrite(p)
	<-r.done
	return r.ok()
}

// ok is the outcome of a request that is answered by a status alone. SSH_FX_EOF
// is as little success as any other code.
func (r *reply) ok() error {
	defer r.release()
	return r.is(fxpStatus)
}

// stat asks for the file's attributes by its handle.
func (f *file) stat(ctx context.Context) (attrs, error) {
	return f.ch.attrs(ctx, newRequest(fxpFstat).string(f.handle))
}

func (ch *channel) attrs(ctx context.Context, r request) (attrs, error) {
	answer, err := ch.exchange(ctx, ch.conn.limits.Reply, r)
	if err != nil {
		return attrs{}, err
	}
	return answer.attrs()
}

// attrs is the outcome of a STAT, LSTAT or FSTAT.
func (r *reply) attrs() (attrs, error) {
	defer r.release()
	if err := r.is(fxpAttrs); err != nil {
		return attrs{}, err
	}
	a := r.fields.attrs()
	return a, r.fields.err
}

// truncate cuts the file to size bytes.
func (f *file) truncateRequest(size int64) request {
	return newRequest(fxpFsetstat).string(f.handle).uint32(attrSize).uint64(uint64(size))
}

func (f *file) closeRequest() request { return newRequest(fxpClose).string(f.handle) }

func (f *file) syncRequest() request {
	return newRequest(fxpExtended).string("fsync@openssh.com").string(f.handle)
}

// command makes a request about the file that is answered by a status alone.
func (f *file) command(ctx context.Context, limit time.Duration, r request) error {
	answer, err := f.ch.exchange(ctx, limit, r)
	if err != nil {
		return err
	}
	return answer.ok()
}

// letGo closes a handle whose answer is of no interest.
func (f *file) letGo() { f.ch.tap.post(f.closeRequest()) }
