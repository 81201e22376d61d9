//go:build unix && !linux

package mosquittotest

import "syscall"

// childAttr gives the broker a process group of its own, so that Close reaches
// what a wrapper script started.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
