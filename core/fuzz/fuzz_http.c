/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_http -- any bytes as HTTP/1, whole and cut, give the same records and all memory back */
#include "conversation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint64_t wanted = UINT64_C(1) << MB_EV_HTTP_REQUEST | UINT64_C(1) << MB_EV_HTTP_RESPONSE |
                            UINT64_C(1) << MB_EV_HTTP_BODY | UINT64_C(1) << MB_EV_HTTP_END;
    play_conversation(data, size, false, wanted);
    return 0;
}
