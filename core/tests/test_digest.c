/* SPDX-License-Identifier: BSD-3-Clause */
/* test_digest -- the test vectors of the RFCs, whole and in pieces */
#include "base/digest.h"

#include "test.h"

struct vector {
    enum mb__digest_kind kind;
    const char *text;
    const char *hex;
};

#define ALPHANUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define DIGITS "1234567890"
#define LONG448 "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"

/* RFC 1321 A.5, RFC 3174 7.3, RFC 6234 8.5. */
static const struct vector vectors[] = {
    {MB__MD5, "", "d41d8cd98f00b204e9800998ecf8427e"},
    {MB__MD5, "a", "0cc175b9c0f1b6a831c399e269772661"},
    {MB__MD5, "message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
    {MB__MD5, ALPHANUM, "d174ab98d277d9f5a5611c2c9f419d9f"},
    {MB__MD5, DIGITS DIGITS DIGITS DIGITS DIGITS DIGITS DIGITS DIGITS, "57edf4a22be3c955ac49da2e2107b67a"},
    {MB__SHA1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {MB__SHA1, LONG448, "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
    {MB__SHA256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {MB__SHA256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {MB__SHA256, LONG448, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

static void test_vectors(void)
{
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const struct vector *v = &vectors[i];
        uint8_t out[MB__DIGEST_MAX];
        char hex[2 * MB__DIGEST_MAX + 1];
        mb__digest(v->kind, v->text, strlen(v->text), out);
        mb__hex(out, v->kind, hex);
        CHECK_STR(hex, v->hex);
    }
}

/* A million times "a", in pieces that straddle blocks. */
static void test_pieces(void)
{
    static const struct vector million[] = {
        {MB__MD5, NULL, "7707d6ae4e027c70eea2a935c2296f21"},
        {MB__SHA1, NULL, "34aa973cd4c4daa4f61eeb2bdbad27316534016f"},
        {MB__SHA256, NULL, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    char as[1000];
    memset(as, 'a', sizeof as);
    for (size_t i = 0; i < 3; i++) {
        struct mb__digest d;
        uint8_t out[MB__DIGEST_MAX];
        char hex[2 * MB__DIGEST_MAX + 1];
        mb__digest_init(&d, million[i].kind);
        for (size_t done = 0, n = 1; done < 1000000; done += n, n = n % 997 + 1) {
            n = n < 1000000 - done ? n : 1000000 - done;
            mb__digest_update(&d, as, n);
        }
        mb__digest_final(&d, out);
        mb__hex(out, million[i].kind, hex);
        CHECK_STR(hex, million[i].hex);
    }
}

int main(void)
{
    RUN(test_vectors);
    RUN(test_pieces);
    return test_done();
}
