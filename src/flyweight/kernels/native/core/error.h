// Errors of the library: thrown inside, turned into a number and a text at the C interface.
#ifndef FLYWEIGHT_CORE_ERROR_H
#define FLYWEIGHT_CORE_ERROR_H

#include <exception>
#include <string>

namespace flyweight {

class Error : public std::exception {
 public:
  explicit Error(std::string text) : text_(std::move(text)) {}
  const char *what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

// Throws Error with a printf-like text that says what, where, what it got and the way out.
[[noreturn]] __attribute__((format(printf, 1, 2))) void Fail(const char *format, ...);

// Keeps `text` for fw_error() of this thread.
void SetErrorText(const char *text) noexcept;
// Turns the exception in flight into fw_error()'s text.
int ReportCurrentException(const char *where) noexcept;

// Runs `body` and returns 0, or another number after an exception: none leaves the C interface.
template <class Body>
int Guard(const char *where, Body &&body) noexcept {
  try {
    body();
    return 0;
  } catch (...) {
    return ReportCurrentException(where);
  }
}

}  // namespace flyweight

#endif
