package crl

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// pemType is the only label that Mosquitto looks for in a crlfile.
const pemType = "X509 CRL"

var (
	pemBegin = []byte("-----BEGIN ")
	pemDash  = []byte("-----")
)

// Parse reads one list: DER, a single "X509 CRL" PEM block, or base64
// without armour, with or without line breaks, as EJBCA-REST answers. Nothing
// but white space may surround armour or base64, and nothing may follow the
// list.
//
// It is stricter than [x509.ParseRevocationList], which lets bytes trail and
// extensions repeat, and has limits that no real list is near: 64 extensions of
// the list and of an entry each, and 64 KiB of all that is not entries. The
// result aliases data if that was DER. Parse does not verify anything; the size
// of data is the caller's to limit.
func Parse(data []byte) (*x509.RevocationList, error) { return parse(data, parseDER) }

func parse(data []byte, read func(der []byte) (*x509.RevocationList, error)) (*x509.RevocationList, error) {
	der, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("parsing CRL: %w", err)
	}
	list, err := read(der)
	if err != nil {
		return nil, fmt.Errorf("parsing CRL: %w", err)
	}
	return list, nil
}

// decode returns the DER in data.
func decode(data []byte) ([]byte, error) {
	// The first octet tells: a SEQUENCE is 0x30 in DER, and its base64
	// begins with "M".
	if len(data) > 0 && data[0] == tagSequence {
		return data, nil
	}
	text := bytes.TrimSpace(data)
	if len(text) == 0 {
		return nil, errors.New("it is empty (want DER, PEM or base64)")
	}
	if !bytes.Contains(text, pemDash) {
		der := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
		n, err := base64.StdEncoding.Strict().Decode(der, text)
		if err != nil {
			return nil, fmt.Errorf("%q… is neither DER nor PEM nor base64: %w", text[:min(len(text), 20)], err)
		}
		return der[:n], nil
	}
	var der []byte
	for block, err := range pemBlocks(text) {
		switch {
		case err != nil:
			return nil, err
		case block.label == "":
			return nil, fmt.Errorf("line %d: %.40q outside of the PEM block", block.line, block.body)
		case block.label != pemType:
			return nil, fmt.Errorf("line %d: PEM block is labelled %q (want %q)", block.line, block.label, pemType)
		case der != nil:
			return nil, fmt.Errorf("line %d: a second PEM block (want one)", block.line)
		}
		der = block.body
	}
	return der, nil
}

// ParseAll reads a crlfile as Mosquitto does: one or more "X509 CRL" PEM
// blocks, in file order. Text and blocks with another label are skipped. A
// block that cannot be read is an error wherever it stands, and so is a file
// without a list: a 2.0 broker that reloads one goes on without checking
// revocation, and a 2.1 broker exits.
//
// A file that ParseAll accepts loads. The reverse has exceptions: it refuses
// armour that OpenSSL forgives, such as a BEGIN line with a dash missing,
// and version 1 lists.
func ParseAll(data []byte) ([]*x509.RevocationList, error) { return readAll(data, parseDER) }

func readAll(data []byte, read func(der []byte) (*x509.RevocationList, error)) ([]*x509.RevocationList, error) {
	var lists []*x509.RevocationList
	for list, err := range listsIn(data, read) {
		if err != nil {
			return nil, fmt.Errorf("parsing CRLs: %w", err)
		}
		lists = append(lists, list)
	}
	if len(lists) == 0 {
		return nil, fmt.Errorf("parsing CRLs: no PEM block labelled %q", pemType)
	}
	return lists, nil
}

// listsIn yields what is in a crlfile, broken blocks as errors between the
// good ones.
func listsIn(data []byte, read func(der []byte) (*x509.RevocationList, error)) iter.Seq2[*x509.RevocationList, error] {
	return func(yield func(*x509.RevocationList, error) bool) {
		for block, err := range pemBlocks(data) {
			var list *x509.RevocationList
			switch {
			case err != nil:
			case block.label == pemType:
				if list, err = read(block.body); err != nil {
					err = fmt.Errorf("line %d: %w", block.line, err)
				}
			default:
				continue
			}
			if !yield(list, err) {
				return
			}
		}
	}
}

// EncodePEM returns the lists as a crlfile: one "X509 CRL" block each, in
// this order. The lists must have been parsed: it is their Raw field that is
// encoded.
func EncodePEM(lists ...*x509.RevocationList) []byte {
	var out bytes.Buffer
	for _, l := range lists {
		// Writing to a bytes.Buffer a block without headers cannot fail.
		_ = pem.Encode(&out, &pem.Block{Type: pemType, Bytes: l.Raw})
	}
	return out.Bytes()
}

// parseDER is x509.ParseRevocationList of what readHead accepts, too.
func parseDER(der []byte) (*x509.RevocationList, error) {
	if _, err := readHead(der); err != nil {
		return nil, err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "x509: "))
	}
	return list, nil
}

// readHead reads all of a list and returns it without its entries, which take
// the standard library most of the time and memory. Where the Raw field is
// what counts it will do.
func readHead(der []byte) (*x509.RevocationList, error) {
	d, err := readDocument(der)
	if err != nil {
		return nil, err
	}
	if _, err := d.readItems(nil); err != nil {
		return nil, err
	}
	return d.head, nil
}
