#include "core/error.h"

#include <cstdarg>
#include <cstdio>
#include <new>

#include "flyweight_kernels.h"

namespace flyweight {
namespace {

// A fixed buffer, so that keeping the text of "out of memory" needs none.
thread_local char error_text[1024] = "";

}  // namespace

void Fail(const char *format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  throw Error(text);
}

void SetErrorText(const char *text) noexcept { std::snprintf(error_text, sizeof error_text, "%s", text); }

int ReportCurrentException(const char *where) noexcept {
  try {
    throw;
  } catch (const Error &error) {
    std::snprintf(error_text, sizeof error_text, "%s: %s", where, error.what());
    return 1;
  } catch (const std::bad_alloc &) {
    std::snprintf(error_text, sizeof error_text, "%s: out of memory. Use a smaller batch, image or number of tokens.",
                  where);
    return 2;
  } catch (const std::exception &error) {
    std::snprintf(error_text, sizeof error_text, "%s: %s", where, error.what());
    return 3;
  } catch (...) {
    std::snprintf(error_text, sizeof error_text, "%s: an unknown error.", where);
    return 3;
  }
}

}  // namespace flyweight

extern "C" {

int fw_abi(void) { return FW_ABI; }

const char *fw_error(void) { return flyweight::error_text; }
}
