package adapters

// ownProgram is this process's own program, even if its file was replaced, or lies where a user cannot go.
const ownProgram = "/proc/self/exe"
