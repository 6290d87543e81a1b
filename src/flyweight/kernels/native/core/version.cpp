// The version of the interface that this library was built with.
#include "flyweight_kernels.h"

int fw_abi(void) { return FW_ABI; }
