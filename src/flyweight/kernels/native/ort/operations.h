// The operations that the library gives to ONNX Runtime.
#ifndef FLYWEIGHT_ORT_OPERATIONS_H
#define FLYWEIGHT_ORT_OPERATIONS_H

#include <array>

#include "ort/operation.h"

namespace flyweight::ort {

const OrtCustomOp *SparseConvOp();
const OrtCustomOp *SparseLinearOp();
const OrtCustomOp *DepthwiseOp();
const OrtCustomOp *SparseBlockOp();
const OrtCustomOp *QSparseConvOp();
const OrtCustomOp *QDepthwiseOp();
const OrtCustomOp *Pack4Op();
const OrtCustomOp *Quantize4Op();
const OrtCustomOp *Unpack4Op();
const OrtCustomOp *QMaxPoolOp();
const OrtCustomOp *QMeanOp();
const OrtCustomOp *QAddOp();
const OrtCustomOp *QNetworkOp();
const OrtCustomOp *NetworkOp();
const OrtCustomOp *AttentionOp();
const OrtCustomOp *LayerNormOp();

// Those that a network may be made of.
const Kind &SparseConvKind();
const Kind &SparseLinearKind();
const Kind &DepthwiseKind();
const Kind &SparseBlockKind();
const Kind &AttentionKind();
const Kind &LayerNormKind();
const Kind &QSparseConvKind();
const Kind &QDepthwiseKind();
const Kind &QMaxPoolKind();
const Kind &QMeanKind();
const Kind &QAddKind();
const Kind &Pack4Kind();
const Kind &Quantize4Kind();
const Kind &Unpack4Kind();

// Expand (or none), depthwise and project as one part, which reads the image x and, where it sums, the residual.
const Kind &QBlockKind();
// Nothing where the layers cannot be one; they have to outlive it.
std::unique_ptr<Work> BlockOf(const std::array<const Work *, 3> &parts, bool sums);

}  // namespace flyweight::ort

#endif
