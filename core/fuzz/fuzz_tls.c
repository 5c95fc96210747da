/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_tls -- any bytes as TLS, whole and cut, give the same records and all memory back */
#include "conversation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint64_t wanted = UINT64_C(1) << MB_EV_TLS_HELLO | UINT64_C(1) << MB_EV_TLS_CERTIFICATE;
    play_conversation(data, size, false, wanted);
    return 0;
}
