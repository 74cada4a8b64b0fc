package transfertest

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func TestScratchPy(t *testing.T) {
	for _, passive := range []bool{true, false} {
		s := PyFTPDLib(t, FTPOptions{})
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				local := filepath.Join(s.home, fmt.Sprint("l", i))
				os.WriteFile(local, content(10000*(i+1)), 0o666)
				var cmds []string
				for j := range 20 {
					cmds = append(cmds, fmt.Sprintf("put %s -o f%d-%d", local, i, j), fmt.Sprintf("get f%d-%d -o %s.back%d", i, j, local, j), fmt.Sprintf("ls"), fmt.Sprintf("rm f%d-%d", i, j))
				}
				start := time.Now()
				out, err := lftp(s, passive, cmds...)
				if len(out) > 300 {
					out = out[:300]
				}
				fmt.Println(passive, i, time.Since(start), err, out)
			})
		}
		wg.Wait()
	}
}
