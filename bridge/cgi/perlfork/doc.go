//go:build unix

// Package perlfork compiles Perl CGI scripts once and runs them many times: in a process that is forked for each request,
// or, for scripts that the operator names, in processes that stay. The results are those of a process that is started for
// the request. Where they might not be, Run returns nil and the caller starts one.
//
//	scripts := perlfork.New(config)
//	err := scripts.Start()
//	j := scripts.Run(ctx, perlfork.Request{File: file, Env: env, Stdin: fd}) // nil: start a process
//	scripts.Stop()
//
// It knows nothing of HTTP, of bodies or of responses: package cgi makes a script's environment and reads its output.
// Decisions 12 and 18 say why scripts are compiled in this way, PROTOCOL.md what the processes are told. It takes Linux on
// a 64-bit machine; on other systems (other.go) Run always returns nil.
//
// What is known of a script:
//
//   - options.go has the options of a site file, config.go what the host tells, and the states of a script.
//   - scripts.go keeps the scripts of a mount; version.go is one version of a script's file.
//   - shebang.go finds out which perl runs a script; plain.go opens files that may be anything.
//
// How it is compiled:
//
//   - compile.go decides whether it can be; launch.go starts the process; said.go listens to what it writes.
//   - trace.go traces the process; trial.go follows it through the compilation.
//   - judge.go decides over each system call, with special.go for the files of /proc, /sys and /dev, openfiles.go for
//     descriptors, caller.go for which library calls, and exceptions.go for those that may do more.
//   - seen.go knows which files the compilation has looked at, and whether they have changed.
//   - program.go makes the program of a persistent script; extract.go writes the Perl side to a directory.
//
// How it is run:
//
//   - zygote.go is the process that has compiled a script; supply.go hands out the processes that it forks.
//   - child.go is such a process; worker.go is one that stays, and turn.go its work on one request.
//   - protocol.go reads and writes packets, control.go sends and receives them, mark.go finds the end of a run's output.
package perlfork
