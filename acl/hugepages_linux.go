package acl

import (
	"os"
	"syscall"
	"unsafe"
)

// least is what is worth a system call: a few huge pages.
const least = 8 << 20

// adviseHugePages asks for huge pages behind b, which should not have been filled
// yet. Where memory is mapped in pages of 4 KiB, a read somewhere in a table of
// many megabytes is two reads mostly: one of where the page is, and one of the
// page.
func adviseHugePages(b []byte) error {
	if len(b) < least {
		return nil
	}
	const madvHugepage = 14 // MADV_HUGEPAGE, which package syscall lacks
	page := os.Getpagesize()
	b = b[-int(uintptr(unsafe.Pointer(unsafe.SliceData(b))))&(page-1):]
	return syscall.Madvise(b[:len(b)&^(page-1)], madvHugepage)
}
