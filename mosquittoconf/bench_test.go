package mosquittoconf_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/mosquittoconf"
)

// largeFile has 10 000 lines: listeners, bridges and their topics.
func largeFile() []byte {
	var s strings.Builder
	s.WriteString("# A gateway of gateways.\nacl_file /etc/mosquitto/acl\n")
	lines := 2
	for i := 0; lines < 9980; i++ {
		fmt.Fprintf(&s, "\n# Site %d.\nlistener %d 127.0.0.1\ncafile /etc/ca.crt\ncertfile /etc/b.crt\nkeyfile /etc/b.key\nrequire_certificate true\n", i, 1024+i)
		fmt.Fprintf(&s, "connection site%d\naddress site%d.example.org:8883\nbridge_cafile /etc/ca.crt\n", i, i)
		lines += 10
		for j := range 10 {
			fmt.Fprintf(&s, "topic data/%d/# both 1 local/ remote/\n", j)
			lines++
		}
	}
	for ; lines < 10000; lines++ {
		s.WriteString("# The end.\n")
	}
	return []byte(s.String())
}

func BenchmarkParseAndVet(b *testing.B) {
	data := largeFile()
	v := version(b, "2.0.11")
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		f, err := mosquittoconf.Parse("mosquitto.conf", data)
		if err != nil {
			b.Fatal(err)
		}
		f.Vet(v)
	}
}
