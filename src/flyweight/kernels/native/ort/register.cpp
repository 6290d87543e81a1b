// Where ONNX Runtime enters: SessionOptions.register_custom_ops_library(path) calls RegisterCustomOps.
#include <atomic>

#include "flyweight_kernels.h"
#include "ort/domain.h"
#include "ort/operations.h"

namespace flyweight::ort {
namespace {

std::atomic<const OrtApi *> loaded{nullptr};

const OrtCustomOpDomain *Fill(const OrtApi *api, OrtCustomOpDomain *domain) {
  for (const OrtCustomOp *op :
       {SparseConvOp(), SparseLinearOp(), DepthwiseOp(), SparseBlockOp(), QSparseConvOp(), QDepthwiseOp(), QMaxPoolOp(),
        QMeanOp(), QAddOp(), QNetworkOp(), NetworkOp(), Pack4Op(), Quantize4Op(), Unpack4Op(), AttentionOp(),
        LayerNormOp()}) {
    Invoke<kCustomOpDomainAdd>(api, domain, op);
  }
  return domain;
}

}  // namespace

const OrtApi *LoadedApi() { return loaded.load(); }

}  // namespace flyweight::ort

extern "C" FW_EXPORT OrtStatus *RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base) {
  using namespace flyweight::ort;
  const OrtApi *api = base->GetApi(kVersion);
  if (!api) {
    // Every version has the first one's functions, and the making of a status is among them.
    const char *found = base->GetVersionString();
    return Guarded(
        base->GetApi(1),
        [&]() -> void {
          throw Failure{std::string("ONNX Runtime ") + (found ? found : "of an unknown version") +
                            " is too old for the sparse kernels, which need 1.17 or later (and are tested from 1.24 "
                            "on). Install a later one: pip install --upgrade onnxruntime",
                        kFail};
        },
        [] { return std::string("register_custom_ops_library"); });
  }
  loaded = api;
  return Guarded(
      api,
      [&] {
        OrtCustomOpDomain *domain = nullptr;
        Invoke<kCreateCustomOpDomain>(api, kDomain, &domain);
        // The options, and each session made with them, go on pointing to the domain, and nothing tells when the last
        // of them is gone: it is one pointer and fourteen more, and stays.
        Fill(api, domain);
        Invoke<kAddCustomOpDomain>(api, options, domain);
      },
      [] { return std::string("register_custom_ops_library"); });
}
