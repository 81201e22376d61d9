package acl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"github.com/dojot/mqtt-manager-go/internal/durable"
	"github.com/dojot/mqtt-manager-go/internal/groupcommit"
)

// StoreOptions say how a Store treats its file. The zero StoreOptions are
// good for a file that exists and a broker that need not be told.
type StoreOptions struct {
	// Version is the broker's. The file is read as that broker reads it, and no
	// change is made by which it would refuse the file, or by which it would
	// allow everything (ErrNoRules). To 2.0 and 2.1 the same files are good.
	Version Version

	// Seed is the content of a file that doesn't exist yet. It may be empty:
	// with a file that has no rules, Mosquitto 2.0 and 2.1 deny everything.
	Seed []byte

	// Mode and Owner are for a file that doesn't exist yet; a file that exists
	// keeps its own. Zero means 0600, and nil the user and group of this
	// process. The broker reads the file as its own user at each reload, and
	// warns if it belongs to another user or group or if others may read it.
	Mode  fs.FileMode
	Owner *Owner

	// Written tells the broker that the file has changed. It runs after each
	// write and before the callers of Apply are answered, once for all of
	// them, and never twice at a time. Its context ends when all those callers
	// have given up. If it fails, it is owed and runs again at the next Apply.
	// Nil means that nobody need be told.
	Written func(ctx context.Context) error
}

// Owner is the numeric owner and group of a file.
type Owner struct{ UID, GID int }

// Change is what Apply is asked to do: give User exactly these rules, or
// remove it when there are none.
type Change struct {
	User  string
	Rules []Rule

	// Guard, if not nil, sees the user's rules as they are when the change's
	// turn comes, changes before it included. Its error refuses this change.
	// It must not call Apply or Close, and is asked again if somebody edits the
	// file before it is written.
	Guard func(current []Rule) error
}

// ChangeError is a change that was refused and had no effect.
type ChangeError struct {
	Index int // among the changes of the call
	User  string
	Err   error // what Guard or SetUser said
}

func (e *ChangeError) Error() string {
	return fmt.Sprintf("change %d, of user %s: %v", e.Index+1, quote(e.User), e.Err)
}

func (e *ChangeError) Unwrap() error { return e.Err }

// StoreError says that OpenStore failed, or that Apply didn't come to its end:
// the changes of the call may or may not be in the file, and the broker may
// not know of them. They can be applied again.
type StoreError struct {
	Path string
	Op   string // "open", "read", "write", "tell the broker", or "wait" for a caller that gave up
	Err  error
}

func (e *StoreError) Error() string { return fmt.Sprintf("%s: %s: %v", e.Path, e.Op, e.Err) }
func (e *StoreError) Unwrap() error { return e.Err }

// ErrLocked is a file that another Store, of whatever process, has open.
var ErrLocked = errors.New("acl: file is managed by another process")

// ErrNoRules is a file without rules for a broker before 1.5.6, which would
// allow everything to everybody (CVE-2018-12550).
var ErrNoRules = errors.New("acl: a file without rules allows everything before Mosquitto 1.5.6")

// Store is an access control file on disk that this process manages. Its
// methods may be called concurrently.
//
// Others may edit the file meanwhile. What they change is kept unless they do
// so in the instant in which a new file takes its place, or leave the file with
// the date and size that it had. A file that doesn't parse makes Apply fail
// until it does, and one that is gone is written again.
//
// Where the last rule is removed, the file is written without any, by which
// brokers deny everything; before 1.5.6 they allowed everything, so that a Store
// for such a version doesn't write it.
type Store struct {
	path  string
	opts  StoreOptions
	lock  io.Closer
	group *groupcommit.Group[request]

	mu   sync.RWMutex
	file *File // never edited, but replaced by another

	run    sync.Mutex // held by who writes the file, and for what follows
	closed bool
	attr   durable.Attr
	// seen is the file on disk that file was read from or written to. It is
	// nil when disk and file may differ for our own fault.
	seen fs.FileInfo
	// synced is false when the file on disk may not survive a crash.
	synced bool
	// told is whether Written has succeeded since the content last changed.
	told bool
	// freeing are files that have been replaced.
	freeing sync.WaitGroup
}

// OpenStore opens the file at path and creates it if it doesn't exist. It
// locks path+".lock", which stays behind, and removes what an interrupted
// write has left. A path that is a symbolic link or otherwise not a regular
// file is refused, since a write would replace the link, as is a file that
// doesn't parse. Errors are a *StoreError.
//
// Whether the process that managed the file before has told the broker of its
// last write can't be known, so the first Apply always calls Written.
func OpenStore(path string, o StoreOptions) (*Store, error) {
	lock, err := durable.LockFile(path + ".lock")
	if errors.Is(err, durable.ErrLocked) {
		err = ErrLocked
	}
	if err != nil {
		return nil, &StoreError{path, "open", err}
	}
	o.Seed = slices.Clone(o.Seed)
	s := &Store{path: path, opts: o, lock: lock, synced: true}
	s.group = groupcommit.New(s.commit)
	if err := s.open(); err != nil {
		return nil, s.fail("open", errors.Join(err, lock.Close()))
	}
	return s, nil
}

func (s *Store) open() error {
	if err := durable.RemoveTemps(s.path); err != nil {
		return err
	}
	err := s.read()
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	seed, err := s.opts.Version.Parse("seed of "+s.path, s.opts.Seed)
	if err != nil {
		return err
	}
	s.attr = durable.Attr{Mode: s.opts.Mode}
	if o := s.opts.Owner; o != nil {
		s.attr.Owner = &durable.Owner{UID: o.UID, GID: o.GID}
	}
	return s.write(seed)
}

// Apply makes the changes, in order. It returns when they are durable and
// Written has succeeded; calls at the same time share a write.
// When nothing changes, and the broker knows the file as it is, nothing is
// written and nobody told.
//
// Each change stands alone: those refused are joined in the error, each a
// *ChangeError, and the others are made. If the error holds a *StoreError
// too, that is not so: see there. After a write that failed, the Store holds
// what is in the file, or what it held before if that can't be read.
func (s *Store) Apply(ctx context.Context, changes ...Change) error {
	r := request{changes: changes}
	for i := range changes {
		if err := changes[i].check(s.opts.Version.dialect()); err != nil {
			if r.refused == nil {
				r.refused = make(map[int]error)
			}
			r.refused[i] = err
		}
	}
	err := s.group.Do(ctx, r)
	if err != nil && err == ctx.Err() { // the group's own; all of ours are typed
		return s.fail("wait", err)
	}
	return err
}

// View calls f with the content of the file, which f must neither change nor
// keep. What it sees is on disk, but the broker may not have been told. It
// waits for no write: during one, f sees what was there before.
func (s *Store) View(f func(*File)) {
	f(s.current())
}

func (s *Store) current() *File {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.file
}

func (s *Store) setCurrent(f *File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file = f
}

// Close lets others manage the file. It waits for a write that is under way;
// calls of Apply that have not begun theirs, and later ones, return
// fs.ErrClosed in a *StoreError.
func (s *Store) Close() error {
	s.run.Lock()
	defer s.run.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.freeing.Wait()
	return s.lock.Close()
}

func (s *Store) fail(op string, err error) error {
	return &StoreError{Path: s.path, Op: op, Err: err}
}

// request is what a call of Apply asks for, and what was refused of it before
// the file was looked at.
type request struct {
	changes []Change
	refused map[int]error
}

// commit is the run of all who wait: one write, one Written.
func (s *Store) commit(ctx context.Context, calls []request) []error {
	errs, tell, err := s.update(calls)
	if err == nil && tell {
		err = s.tell(ctx)
	}
	if err != nil {
		for i := range errs {
			errs[i] = errors.Join(errs[i], err)
		}
	}
	return errs
}

// update changes the file in memory and on disk, for calls and for those that
// arrive before the write begins. It returns what was refused of each,
// whether the broker must be told, and what failed for all.
func (s *Store) update(calls []request) (refused []error, tell bool, err error) {
	s.run.Lock()
	defer s.run.Unlock()
	if s.closed {
		return make([]error, len(calls)), false, s.fail("write", fs.ErrClosed)
	}
	const attempts = 3
	for range attempts {
		calls, refused, err = s.attempt(calls)
		if !errors.Is(err, errEdited) {
			break
		}
	}
	return refused, !s.told, err
}

// errEdited is a write that would have replaced what somebody else has written
// meanwhile.
var errEdited = errors.New("others keep changing the file")

// attempt changes the file as it is now. It returns calls with those that have
// joined them.
func (s *Store) attempt(calls []request) (joined []request, refused []error, err error) {
	if err := s.refresh(); err != nil {
		return calls, make([]error, len(calls)), err
	}
	next := s.current().clone()
	changed := !s.synced
	for i := 0; i < len(calls); i++ {
		did, err := calls[i].apply(next)
		changed = changed || did
		refused = append(refused, err)
		if i == len(calls)-1 {
			calls = append(calls, s.group.Join()...)
		}
	}
	if !changed {
		return calls, refused, nil
	}
	switch err := s.write(next); {
	case err == nil:
		return calls, refused, nil
	case errors.Is(err, errEdited):
		return calls, refused, s.fail("write", err)
	default:
		// Which of the two is there depends on where it failed.
		s.seen = nil
		return calls, refused, s.fail("write", errors.Join(err, s.read()))
	}
}

// apply makes the changes, and returns those that were refused.
func (r request) apply(f *File) (changed bool, err error) {
	var refused []error
	for i := range r.changes {
		if i%lookAhead == 0 {
			f.prefetch(r.changes[i:min(i+lookAhead, len(r.changes))])
		}
		c := &r.changes[i]
		err := r.refused[i]
		if err == nil {
			var did bool
			did, err = c.apply(f)
			changed = changed || did
		}
		if err != nil {
			refused = append(refused, &ChangeError{Index: i, User: c.User, Err: err})
		}
	}
	return changed, errors.Join(refused...)
}

// lookAhead is how many changes wait for memory together.
const lookAhead = 16

// prefetch reads what changes are going to need, for all of them at once. In a
// large file an edit waits for memory three times, which is most of its time.
func (f *File) prefetch(changes []Change) {
	if len(f.users.slots) == 0 {
		return
	}
	var hashes, blocks [lookAhead]uint32
	used := uint32(0)
	for i := range changes {
		hashes[i] = f.users.hash(changes[i].User)
		used += f.users.slots[f.users.home(hashes[i])].block
	}
	for i := range changes {
		at := f.users.find(hashes[i], func(uint32) bool { return true })
		blocks[i] = f.users.slots[at].block
		used += f.blocks[blocks[i]].start
	}
	for i := range changes {
		if s := f.slice(f.blocks[blocks[i]]); s != "" {
			used += uint32(s[0]) + uint32(s[len(s)-1])
		}
	}
	runtime.KeepAlive(used) // or the compiler would spare the reads
}

// check refuses what no file of that dialect could say. Whether there is a
// user to be removed is for the file to tell: a name from an older hand that
// SetUser wouldn't write can be.
func (c *Change) check(d dialect) error {
	if len(c.Rules) == 0 {
		return nil
	}
	return d.checkUser(c.User, c.Rules)
}

// apply makes a change that was checked.
func (c *Change) apply(f *File) (changed bool, err error) {
	if len(c.Rules) == 0 {
		if _, ok := f.find(c.User); !ok {
			if err := checkName(c.User); err != nil {
				return false, err
			}
		}
	}
	if c.Guard != nil {
		if err := c.Guard(slices.Collect(f.Rules(c.User))); err != nil {
			return false, err
		}
	}
	return f.setUser(c.User, c.Rules)
}

func (s *Store) tell(ctx context.Context) error {
	if s.opts.Written != nil {
		if err := s.opts.Written(ctx); err != nil {
			return s.fail("tell the broker", err)
		}
	}
	// Only a run of the group changes the file, and this is one.
	s.run.Lock()
	defer s.run.Unlock()
	s.told = true
	return nil
}

// refresh brings the File to what is on disk.
func (s *Store) refresh() error {
	info, err := os.Lstat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// A broker that reloads without its file is open to everybody. This is
		// a write of its own so that the changes to come, should theirs fail,
		// find a file to be undone to.
		if err := s.write(s.current()); err != nil {
			return s.fail("write", err)
		}
		return nil
	case err == nil && s.hasSeen(info):
		s.attr = attrOf(info) // neither date nor size tells of these
		return nil
	}
	if err := s.read(); err != nil {
		return s.fail("read", err)
	}
	return nil
}

// read makes the File and all that is known of it what is on disk. If that
// fails, it leaves them alone.
func (s *Store) read() error {
	f, err := openRegular(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	// An edit while the file is being read makes it differ from this.
	info, err := f.Stat()
	if err != nil {
		return err
	}
	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err := data.ReadFrom(f); err != nil {
		return err
	}
	file, err := s.opts.Version.Parse(s.path, data.Bytes())
	if err != nil {
		return err
	}
	s.setCurrent(file)
	s.seen, s.attr, s.told = info, attrOf(info), false
	return nil
}

// hasSeen tells whether the File is what is in the file of that description.
func (s *Store) hasSeen(info fs.FileInfo) bool {
	return s.seen != nil && os.SameFile(info, s.seen) && info.ModTime().Equal(s.seen.ModTime()) && info.Size() == s.seen.Size()
}

// write makes file the one on disk.
func (s *Store) write(file *File) error {
	if !s.opts.Version.emptyDenies() && !file.hasRules() {
		return ErrNoRules
	}
	s.synced = false
	// The last to close a file that was replaced waits for the disk space to be
	// freed, which for a large one takes as long as to write it.
	if old, err := openRegular(s.path); err == nil {
		defer s.freeing.Go(func() { old.Close() })
	}
	var info fs.FileInfo
	err := durable.Write(s.path, s.attr, func(w io.Writer) error {
		if _, err := file.WriteTo(w); err != nil {
			return err
		}
		if now, err := os.Lstat(s.path); err == nil && s.seen != nil && !s.hasSeen(now) {
			return errEdited
		}
		// Asked of the file itself and not of its name, which may be another's
		// file a moment later.
		f, ok := w.(interface{ Stat() (fs.FileInfo, error) })
		if !ok {
			return errors.ErrUnsupported
		}
		var err error
		info, err = f.Stat()
		return err
	})
	if err != nil {
		return err
	}
	s.setCurrent(file)
	s.seen, s.synced, s.told = info, true, false
	return nil
}

func attrOf(info fs.FileInfo) durable.Attr {
	a := durable.Attr{Mode: info.Mode().Perm()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		a.Owner = &durable.Owner{UID: int(st.Uid), GID: int(st.Gid)}
	}
	return a
}
