/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_ssh -- any bytes as SSH, whole and cut, give the same records and all memory back */
#include "conversation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint64_t wanted = UINT64_C(1) << MB_EV_SSH;
    play_conversation(data, size, false, wanted);
    return 0;
}
