// The operations that the library gives to ONNX Runtime.
#ifndef FLYWEIGHT_ORT_OPERATIONS_H
#define FLYWEIGHT_ORT_OPERATIONS_H

#include "ort/operation.h"

namespace flyweight::ort {

const OrtCustomOp *SparseConvOp();
const OrtCustomOp *SparseLinearOp();
const OrtCustomOp *DepthwiseOp();
const OrtCustomOp *SparseBlockOp();
const OrtCustomOp *QSparseConvOp();
const OrtCustomOp *QDepthwiseOp();
const OrtCustomOp *Pack4Op();
const OrtCustomOp *Unpack4Op();
const OrtCustomOp *QMaxPoolOp();
const OrtCustomOp *QAddOp();
const OrtCustomOp *AttentionOp();
const OrtCustomOp *LayerNormOp();

}  // namespace flyweight::ort

#endif
