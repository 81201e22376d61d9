package mosquittotest

import "syscall"

// childAttr gives the broker a process group of its own, so that Close reaches
// what a wrapper script started, and ends it with the process that started it,
// however that ends.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
