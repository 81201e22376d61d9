package provision

import (
	"bufio"
	"bytes"
	"testing"
)

// A broker may answer anything.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{packetConnack, 3, 0, 0, 0})
	f.Add([]byte{packetDisconnect, 0})
	f.Add([]byte{packetDisconnect, 2, 0x8b, 0})
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add([]byte{packetPuback, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, answer []byte) {
		s := &session{in: bufio.NewReader(bytes.NewReader(answer))}
		body, err := s.receive(packetConnack)
		if err == nil && (len(body) > maxPacket || len(body) > len(answer)) {
			t.Errorf("%d bytes out of %d", len(body), len(answer))
		}
	})
}
