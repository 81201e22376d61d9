package mosquittotest

import (
	"fmt"
	"net"
	"slices"
	"testing"
)

func TestFreePort(t *testing.T) {
	taken, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", taken))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	all := len(givePorts())
	given := map[int]bool{}
	// Past all ports, so that the one which is taken has its turn again.
	for n := range all + 1 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if port == taken {
			t.Fatalf("got %d, which is taken", port)
		}
		// Others may have taken some meanwhile.
		if given[port] && n < all/2 {
			t.Fatalf("got %d twice within %d", port, n)
		}
		given[port] = true
	}
}

func TestStablePorts(t *testing.T) {
	for _, tt := range []struct {
		firstLocal, lastLocal int
		first, last, n        int
	}{
		{32768, 60999, 10000, 32767, 22768},
		{15000, 60999, 10000, 14999, 5000},
		{1024, 19999, 20000, 32767, 12768},
		{15000, 29999, 10000, 32767, 7768},
		{1024, 65535, 10000, 32767, 22768}, // there are none
	} {
		ports := stablePorts(tt.firstLocal, tt.lastLocal)
		if slices.IsSorted(ports) {
			t.Errorf("%d to %d: the order is everybody's", tt.firstLocal, tt.lastLocal)
		}
		slices.Sort(ports)
		if n := len(slices.Compact(ports)); n != tt.n || ports[0] != tt.first || ports[n-1] != tt.last {
			t.Errorf("the kernel's are %d to %d: got %d ports from %d to %d, want %d from %d to %d",
				tt.firstLocal, tt.lastLocal, n, ports[0], ports[n-1], tt.n, tt.first, tt.last)
		}
	}
}
