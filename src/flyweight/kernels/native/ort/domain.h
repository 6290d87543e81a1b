// The domain of our operations. ONNX Runtime prints it where it does not know them ("Fatal error:
// <domain>:SparseConv(-1) is not a registered function/op"), so it says what to do. kernels/library.py has the same
// words; a test compares them.
#ifndef FLYWEIGHT_ORT_DOMAIN_H
#define FLYWEIGHT_ORT_DOMAIN_H

namespace flyweight::ort {

constexpr const char *kDomain = "flyweight: options.register_custom_ops_library(flyweight.kernels_library())";

}  // namespace flyweight::ort

#endif
