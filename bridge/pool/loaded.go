package pool

import "github.com/pagi-go/pagi-bridge/bridge/wire"

// loaded passes on which files the application has loaded.
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
