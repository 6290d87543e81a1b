// Errors between ONNX Runtime and us: theirs are statuses to be released, ours a Failure that never leaves a callback.
#ifndef FLYWEIGHT_ORT_STATUS_H
#define FLYWEIGHT_ORT_STATUS_H

#include <exception>
#include <string>
#include <utility>

#include "ort/api.h"

namespace flyweight::ort {

struct Failure {
  std::string text;
  Code code = kInvalidArgument;
};

// What a status says; it is released.
inline std::string Take(const OrtApi *api, OrtStatus *status) {
  std::string text = Get<kGetErrorMessage>(api)(status);
  Get<kReleaseStatus>(api)(status);
  return text;
}

// Calls a function of the table; raises what it complains of.
template <Slot slot, class... Arguments>
void Invoke(const OrtApi *api, Arguments... arguments) {
  if (OrtStatus *status = Get<slot>(api)(arguments...)) throw Failure{Take(api, status), kFail};
}

// Whether a function of the table went well, where it may not.
template <Slot slot, class... Arguments>
bool Succeeds(const OrtApi *api, Arguments... arguments) {
  OrtStatus *status = Get<slot>(api)(arguments...);
  if (status) Get<kReleaseStatus>(api)(status);
  return !status;
}

// Runs `work` in a callback of ONNX Runtime's: nothing is thrown out of it, everything comes as a status. `where` is
// called only for a failure, and says which node it was.
template <class Work, class Where>
OrtStatus *Guarded(const OrtApi *api, Work work, Where where) noexcept {
  const auto create = Get<kCreateStatus>(api);
  try {
    try {
      work();
      return nullptr;
    } catch (const Failure &failure) {
      return create(failure.code, ("flyweight: " + where() + ": " + failure.text).c_str());
    } catch (const std::exception &error) {
      return create(kRuntimeException, ("flyweight: " + where() + ": " + error.what()).c_str());
    }
  } catch (...) {
    return create(kRuntimeException, "flyweight: out of memory");
  }
}

}  // namespace flyweight::ort

#endif
