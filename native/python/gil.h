// The interpreter's lock, in threads that may outlive the interpreter.
#pragma once
#include <Python.h>
#include <unistd.h>

#include <exception>
#include <utility>

namespace pw::python {

// Calls body(), which may ask for the interpreter's lock or run Python code; a thread to which the interpreter ends
// meanwhile waits here for the end of the process.
//
// Up to Python 3.13 an interpreter that ends calls pthread_exit in a daemon thread that asks for its lock. That unwinds the
// thread, and one that unwinds through a noexcept function or a `catch (...)`, of which nanobind and sessions are made,
// aborts the process. From Python 3.14 on such threads hang, as they do here. `body` should own no Python object: what
// is unwound gives up its references without the lock. https://github.com/python/cpython/issues/87135
template <class Body>
decltype(auto) unless_over(Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (...) {
    if (std::current_exception()) throw;  // an exception of C++, which that unwinding is not
    for (;;) pause();
  }
}

// Holds the lock, in any thread.
class Locked {
 public:
  Locked() noexcept : state_(unless_over(PyGILState_Ensure)) {}
  ~Locked() { PyGILState_Release(state_); }
  Locked(const Locked&) = delete;

 private:
  PyGILState_STATE state_;
};

// Gives the lock to other threads.
class Unlocked {
 public:
  Unlocked() noexcept : state_(PyEval_SaveThread()) {}
  ~Unlocked() {
    unless_over([this] { PyEval_RestoreThread(state_); });
  }
  Unlocked(const Unlocked&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace pw::python
