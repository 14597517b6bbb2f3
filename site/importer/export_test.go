package importer

// SetPHP names another program for scripts in PHP, and returns what undoes it.
func SetPHP(program string) (undo func()) {
	old := phpCGI
	phpCGI = program
	return func() { phpCGI = old }
}
