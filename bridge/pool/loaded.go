package pool

import "github.com/pagi-go/pagi-bridge/bridge/wire"

// loaded passes the names of the files that the application has loaded to Options.Loaded.
func (w *worker) loaded(frame wire.Frame) error {
	files, err := wire.DecodeLoaded(frame.Payload)
	release(frame.Buffer)
	if err != nil {
		return err
	}
	if told := w.pool.opt.Loaded; told != nil {
		told(files)
	}
	return nil
}
