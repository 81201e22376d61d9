package enrol

import (
	"os"
	"runtime"
)

// Oversubscribe has twice as many goroutines run at once as there are
// processors, in the whole process, until restore is called. It is for
// programs that do little else than a [Run]: a goroutine that waits for the
// disk holds its place among GOMAXPROCS for up to 10 ms, and each device waits
// for the disk several times, while others could be making keys. A GOMAXPROCS
// in the environment stands.
func Oversubscribe() (restore func()) {
	if os.Getenv("GOMAXPROCS") != "" {
		return func() {}
	}
	places := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(2 * places)
	return func() { runtime.GOMAXPROCS(places) }
}
