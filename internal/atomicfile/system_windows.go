package atomicfile

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

func openNonblocking(path string) (*os.File, error) { return os.Open(path) }

// rename tries again for a while: a virus scanner, or a reader, may hold the file for a moment.
func rename(from, to string) error {
	var err error
	for attempt := range 20 {
		if err = os.Rename(from, to); !errors.Is(err, windows.ERROR_SHARING_VIOLATION) && !errors.Is(err, windows.ERROR_ACCESS_DENIED) {
			return err
		}
		time.Sleep(time.Duration(attempt+1) * 5 * time.Millisecond)
	}
	return err
}

// SyncFolder does nothing: NTFS journals the rename.
func SyncFolder(string) {}
