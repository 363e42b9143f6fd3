// SIGINT and SIGTERM: the first asks the run to stop at the next safe place,
// the second ends the process at once. Nothing is lost either way, since
// finished cells are on disk before they are reported.
#pragma once

namespace wush {

// Installs the handlers for SIGINT and SIGTERM. The first signal sets the flag
// that interrupted() reads; a second one calls _exit(128 + signal).
void install_interrupt_handlers();

// True once a signal has arrived. Cheap enough to poll in every step.
bool interrupted();

// The signal that arrived first, or 0. The program ends with 128 + signal.
int interrupt_signal();

}  // namespace wush
