// Runs part of a test in a forked child, for code that ends its process.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "lib/support/end_process.h"
#include "lib/support/error.h"

namespace wush::testing {

// How a child ended: its exit status, or minus the signal that killed it.
inline int wait_for_child(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// Starts `work` in a child; its exit status is the exit code of the wush::Error
// that it throws, 99 for any other exception, else 0.
template <typename Work>
pid_t start_child(const Work& work) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  int status = 0;
  try {
    work();
  } catch (const Error& error) {
    status = static_cast<int>(error.code());
  } catch (...) {
    status = 99;
  }
  end_process(status);
}

template <typename Work>
int run_in_child(const Work& work) {
  return wait_for_child(start_child(work));
}

// The text of the error that `work` throws; empty when it throws none.
template <typename ExpectedError, typename Work>
std::string message_of(const Work& work) {
  try {
    work();
  } catch (const ExpectedError& error) {
    return error.what();
  }
  return "";
}

}  // namespace wush::testing
