package loopback_test

import (
	"testing"

	"github.com/dojot/mqtt-manager-go/internal/loopback"
)

func TestIs(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost:9010": true, "127.0.0.1:9010": true, "127.9.9.9": true, "[::1]:9010": true, "::1": true, "": true,
		"evil.example": false, "evil.example:9010": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false,
		"10.0.0.1:9010": false, "[::]:9010": false, "0.0.0.0": false, ":9010": false, "[::ffff:10.0.0.1]": false,
	} {
		if got := loopback.Is(host); got != want {
			t.Errorf("%q: got %v, want %v", host, got, want)
		}
	}
}
