package mosquittoconf

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/internal/durable"
)

// HashEntry is a name by which OpenSSL finds an object in a hashed directory.
type HashEntry struct {
	Name   string // such as "3bcdf9a1.0", or "3bcdf9a1.r0" of a revocation list
	Source string // the file that the object is from; Name itself for one that was there already
}

// HashError is a file of a hashed directory that adds nothing to it.
type HashError struct {
	File string
	Err  error
}

func (e *HashError) Error() string { return fmt.Sprintf("%s: %v", e.File, e.Err) }
func (e *HashError) Unwrap() error { return e.Err }

// ErrDuplicate is wrapped by the [HashError] of a file with an object that
// another file holds already.
var ErrDuplicate = errors.New("the same object is in another file")

// splitMark begins each file that HashDir writes, in front of the PEM block.
// OpenSSL skips it; HashDir knows by it what it may remove.
const splitMark = "# from "

var (
	hashName    = regexp.MustCompile(`^([0-9a-f]{8})\.(r?)(0|[1-9][0-9]{0,8})$`)
	hashSources = []string{".pem", ".crt", ".cer", ".crl"}
)

// HashDir makes dir a hashed directory, as capath and bridge_capath need it,
// of its files that end in .pem, .crt, .cer or .crl. It does what "openssl
// rehash" does: for each certificate a symbolic link HASH.N, for each
// revocation list HASH.rN, where HASH is the [NameHash] and N counts objects
// of the same name from 0 without a gap. It returns the entries, sorted by
// name, and what it left out and why, in order of the files.
//
// It differs from OpenSSL 3.0's rehash in that
//   - a file of several objects, or of DER, is not left out: each of its
//     objects gets a file HASH.N of its own, in PEM;
//   - links whose file is gone are removed, and do not occupy their number;
//   - an entry that is still right keeps its number, so that a broker that has
//     read it, and looks for the next one only, is not misled.
//
// A HASH.N that is a regular file and not by HashDir stays; it is renamed only
// if OpenSSL would not find it behind a gap. What is not changed is not
// written. A running broker finds new entries by itself, and forgets removed
// ones at a restart.
//
// HashDir must not be called concurrently with itself or [AddCRL] for one dir.
func HashDir(dir string) ([]HashEntry, []*HashError, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	h := &hasher{dir: dir, byEntry: make(map[string]*hashed), seen: make(map[string]bool), names: make(map[string]*hashed)}
	for _, f := range files {
		if slices.Contains(hashSources, strings.ToLower(filepath.Ext(f.Name()))) {
			h.source(f.Name())
		}
	}
	for _, f := range files {
		if hashName.MatchString(f.Name()) {
			if err := h.old(f); err != nil {
				return nil, h.skipped, err
			}
		}
	}
	h.number()
	if err := h.write(); err != nil {
		return nil, h.skipped, err
	}
	entries := make([]HashEntry, 0, len(h.names))
	for name, o := range h.names {
		source := o.source
		if o.foreign {
			source = name
		}
		entries = append(entries, HashEntry{Name: name, Source: source})
	}
	slices.SortFunc(entries, func(a, b HashEntry) int { return compareHashNames(a.Name, b.Name) })
	return entries, h.skipped, nil
}

// AddCRL adds a list to the hashed directory dir, as the next HASH.rN of its
// issuer, and returns that name. A broker whose listener has dir as capath,
// and any valid crlfile, finds it at the next handshake, without a signal; it
// does not look again at a number that it has read. Of several lists of a CA,
// the broker goes by the newest.
//
// The list should be verified ([crl.Verify]). Adding what is there already
// changes nothing. Remove old lists before the broker starts, not while it
// runs, and let [HashDir] close the gaps.
func AddCRL(dir string, list *x509.RevocationList) (name string, err error) {
	hash, err := NameHash(list.RawIssuer)
	if err != nil {
		return "", fmt.Errorf("revocation list: %w", err)
	}
	for n := 0; ; n++ {
		name = fmt.Sprintf("%s.r%d", hash, n)
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return "", err
		}
		if block, _ := pem.Decode(data); block != nil && bytes.Equal(block.Bytes, list.Raw) {
			return name, nil
		}
	}
	// A link whose file is gone is replaced: a broker ignores it, too.
	return name, durable.WriteFile(filepath.Join(dir, name), crl.EncodePEM(list), durable.Attr{Mode: 0o644})
}

// compareHashNames sorts .r10 behind .r9.
func compareHashNames(a, b string) int {
	x, y := hashName.FindStringSubmatch(a), hashName.FindStringSubmatch(b)
	return cmp.Or(cmp.Compare(x[1], y[1]), cmp.Compare(x[2], y[2]), cmp.Compare(len(x[3]), len(y[3])), cmp.Compare(x[3], y[3]))
}

// hashed is an object that dir holds.
type hashed struct {
	prefix  string // HASH. or HASH.r
	source  string
	split   []byte // content of a file of its own; nil is a link to source
	foreign bool   // the file source is the entry
	has     string // the entry that it has already
}

// entry tells objects apart by what an entry of theirs looks like.
func (o *hashed) entry() string { return o.prefix + o.source + "\x00" + string(o.split) }

type hasher struct {
	dir     string
	objects []*hashed
	byEntry map[string]*hashed
	seen    map[string]bool // DER of objects
	skipped []*HashError
	stale   []string           // our entries that are there already and not wanted
	names   map[string]*hashed // the result
}

func (h *hasher) skip(file string, err error) {
	h.skipped = append(h.skipped, &HashError{file, err})
}

// source reads the objects of a file.
func (h *hasher) source(file string) {
	path := filepath.Join(h.dir, file)
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err == nil && info.Size() > maxFile {
		err = fmt.Errorf("%d bytes (want up to %d)", info.Size(), maxFile)
	}
	if err != nil {
		h.skip(file, err)
		return
	}
	data, err := os.ReadFile(path)
	if err != nil {
		h.skip(file, err)
		return
	}
	blocks, isDER, err := hashBlocks(data)
	if err != nil {
		h.skip(file, err)
		return
	}
	for _, b := range blocks {
		list := b.Type == "X509 CRL"
		der := b.Bytes
		if b.Type == "TRUSTED CERTIFICATE" {
			der = firstValue(der)
		}
		name, err := nameOf(der, list)
		var hash string
		if err == nil {
			hash, err = NameHash(name)
		}
		if err != nil {
			h.skip(file, err)
			continue
		}
		if h.seen[string(der)] {
			h.skip(file, ErrDuplicate)
			continue
		}
		h.seen[string(der)] = true
		o := &hashed{prefix: hash + ".", source: file}
		if list {
			o.prefix += "r"
		}
		if isDER || len(blocks) > 1 {
			o.split = append([]byte(splitMark+strconv.Quote(file)+"\n"), pem.EncodeToMemory(&pem.Block{Type: b.Type, Bytes: b.Bytes})...)
		}
		h.objects = append(h.objects, o)
		h.byEntry[o.entry()] = o
	}
}

// hashBlocks returns the certificates and lists in data.
func hashBlocks(data []byte) (blocks []*pem.Block, isDER bool, err error) {
	if isSequence(data) {
		label := "CERTIFICATE"
		if isList(data) {
			label = "X509 CRL"
		}
		return []*pem.Block{{Type: label, Bytes: data}}, true, nil
	}
	all, err := pemBlocks(data)
	if err != nil {
		return nil, false, err
	}
	for _, b := range all {
		if b.Type == "X509 CRL" || slices.Contains(certificateLabels, b.Type) {
			blocks = append(blocks, b)
		}
	}
	if len(blocks) == 0 {
		return nil, false, errors.New("no PEM certificate or revocation list in it")
	}
	return blocks, false, nil
}

// old looks at an entry that is there already, and keeps its number if an
// object still wants it.
func (h *hasher) old(f fs.DirEntry) error {
	name := f.Name()
	path := filepath.Join(h.dir, name)
	prefix, _ := splitHashName(name)
	is := &hashed{prefix: prefix}
	if f.Type()&fs.ModeSymlink != 0 {
		var err error
		if is.source, err = os.Readlink(path); err != nil {
			return err
		}
	} else {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(string(data), "\n")
		quoted, ours := strings.CutPrefix(first, splitMark)
		if is.source, err = strconv.Unquote(quoted); !ours || err != nil {
			h.objects = append(h.objects, &hashed{prefix: prefix, source: name, foreign: true, has: name})
			return nil
		}
		is.split = data
	}
	if o := h.byEntry[is.entry()]; o != nil && o.has == "" {
		o.has = name
	} else {
		h.stale = append(h.stale, name)
	}
	return nil
}

func splitHashName(name string) (prefix string, n int) {
	m := hashName.FindStringSubmatch(name)
	n, _ = strconv.Atoi(m[3]) // nine digits at most
	return m[1] + "." + m[2], n
}

// number gives each object the entry that it has, if that leaves no gap, or
// the first free one.
func (h *hasher) number() {
	count := make(map[string]int)
	for _, o := range h.objects {
		count[o.prefix]++
	}
	free := make(map[string]int)
	var homeless []*hashed
	for _, o := range h.objects {
		if o.has != "" {
			if _, n := splitHashName(o.has); n < count[o.prefix] {
				h.names[o.has] = o
				continue
			}
		}
		homeless = append(homeless, o)
	}
	for _, o := range homeless {
		n := free[o.prefix]
		for h.names[o.prefix+strconv.Itoa(n)] != nil {
			n++
		}
		h.names[o.prefix+strconv.Itoa(n)] = o
		free[o.prefix] = n + 1
	}
}

// write brings the entries about, the wanted ones first: OpenSSL may read
// meanwhile, and should rather trust too long than too little.
func (h *hasher) write() error {
	changed := false
	for name, o := range h.names {
		if o.has == name {
			continue
		}
		changed = true
		var err error
		switch {
		case o.foreign:
			err = os.Rename(filepath.Join(h.dir, o.source), filepath.Join(h.dir, name))
		case o.split != nil:
			err = h.place(name, func(tmp string) error { return writeSynced(tmp, o.split) })
		default:
			err = h.place(name, func(tmp string) error { return os.Symlink(o.source, tmp) })
		}
		if err != nil {
			return err
		}
		if o.has != "" && !o.foreign {
			h.stale = append(h.stale, o.has)
		}
	}
	for _, name := range h.stale {
		if h.names[name] != nil {
			continue // replaced
		}
		if err := os.Remove(filepath.Join(h.dir, name)); err != nil {
			return err
		}
		changed = true
	}
	if !changed {
		return nil
	}
	return durable.SyncDir(h.dir)
}

// place makes something under a temporary name and renames it: an entry is
// never missing while it is replaced.
func (h *hasher) place(name string, create func(tmp string) error) error {
	tmp := filepath.Join(h.dir, name+".new")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := create(tmp); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(h.dir, name))
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
