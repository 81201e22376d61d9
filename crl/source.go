package crl

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/httpurl"
)

// Source gives the newest list of one CA, parsed and not verified. Where the
// CA issues lists only when asked, the Source asks: what it returns should
// not be about to expire.
//
// The Raw field is the list. RevokedCertificateEntries may be empty whatever is
// in it, as with [Index.Head], and is so with the sources of this package: until
// somebody has verified the list, its entries are not worth twenty times its
// size in memory. [NewIndex] of Raw has them.
type Source interface {
	CRL(ctx context.Context) (*x509.RevocationList, error)
}

// ErrTooLarge says that a list, or what should be one, exceeds the limit.
var ErrTooLarge = errors.New("the CRL is too large")

// DefaultMaxSize is how many bytes a list may have unless a field says
// otherwise: enough for a million entries as PEM. A broker reads all of a
// list at every handshake, so that more is hardly of use.
const DefaultMaxSize = 64 << 20

// HTTPSource is a CRL distribution point (RFC 5280, section 4.2.1.13): the
// list itself at a URL, in any form that [Parse] reads. It is safe for
// concurrent use.
type HTTPSource struct {
	URL     string       // http or https
	Client  *http.Client // nil: one that gives up after a minute
	MaxSize int64        // of the answer, in bytes; zero or less is DefaultMaxSize
}

// CRL fetches the list, without RevokedCertificateEntries: see [Source]. The
// error is ErrTooLarge if the answer exceeds MaxSize, which is not read to its
// end then.
func (s *HTTPSource) CRL(ctx context.Context) (*x509.RevocationList, error) {
	u, err := httpurl.Parse(s.URL)
	if err != nil {
		return nil, fmt.Errorf("distribution point %w", err)
	}
	list, err := s.fetch(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("distribution point %s: %w", httpurl.Shown(s.URL), err)
	}
	return list, nil
}

func (s *HTTPSource) fetch(ctx context.Context, u *url.URL) (*x509.RevocationList, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	client := s.Client
	if client == nil {
		client = &http.Client{Timeout: time.Minute}
	}
	answer, err := client.Do(request)
	if err != nil {
		// The URL is said already, and better.
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %q (want %d)", answer.Status, http.StatusOK)
	}
	return readList(ctx, answer.Body, answer.ContentLength, s.MaxSize)
}

// FileSource is a regular file with one list, in any form that [Parse] reads,
// that something else keeps up to date.
type FileSource struct {
	Path    string
	MaxSize int64 // in bytes; zero or less is DefaultMaxSize
}

// CRL reads the file, without RevokedCertificateEntries: see [Source]. The
// error is ErrTooLarge if it exceeds MaxSize.
func (s *FileSource) CRL(ctx context.Context) (*x509.RevocationList, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Nonblocking, as a FIFO would wait for a writer.
	f, err := os.OpenFile(s.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file but %v", s.Path, info.Mode())
	}
	list, err := readList(ctx, f, info.Size(), s.MaxSize)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	return list, nil
}

// DistributionPoints returns a source for each http and https URL in a
// certificate's cRLDistributionPoints, in their order. They are where the
// list of that certificate's issuer is.
func DistributionPoints(cert *x509.Certificate) []Source {
	var sources []Source
	for _, point := range cert.CRLDistributionPoints {
		if u, err := url.Parse(point); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
			sources = append(sources, &HTTPSource{URL: point})
		}
	}
	return sources
}

// readList parses what r has, the entries left out. announced is how much that
// is, -1 if unknown.
func readList(ctx context.Context, r io.Reader, announced, limit int64) (*x509.RevocationList, error) {
	if limit <= 0 {
		limit = DefaultMaxSize
	}
	if announced > limit {
		return nil, fmt.Errorf("%w: %d bytes (want at most %d)", ErrTooLarge, announced, limit)
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return parse(data, readHead)
}
