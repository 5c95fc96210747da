/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_dns -- any bytes as DNS, whole and cut, give the same records and all memory back */
#include "conversation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    play_conversation(data, size, true, UINT64_C(1) << MB_EV_DNS);
    play_conversation(data, size, false, UINT64_C(1) << MB_EV_DNS);
    return 0;
}
