/* SPDX-License-Identifier: BSD-3-Clause */
/* test_ssh -- identification lines, KEXINIT lists and HASSH */
#include "base/cursor.h"

#include "test.h"
#include "transcript.h"

static char *text;

static bool said(const char *needle)
{
    return transcript_says(text, needle);
}

struct bytes {
    uint8_t byte[128 * 1024];
    size_t len;
};

static void put(struct bytes *b, const void *p, size_t len)
{
    memcpy(b->byte + b->len, p, len);
    b->len += len;
}

static void put32(struct bytes *b, uint32_t v)
{
    mb__put_be32(b->byte + b->len, v);
    b->len += 4;
}

static void put_text(struct bytes *b, const char *s)
{
    put(b, s, strlen(s));
}

static const char *const lists[10] = {
    "curve25519-sha256,ecdh-sha2-nistp256", "ssh-ed25519", "aes128-ctr", "aes256-ctr", "hmac-sha2-256", "hmac-sha1",
    "none", "zlib", "", "",
};

/* A packet of |type| whose payload after it is |p|. */
static void packet(struct bytes *b, uint8_t type, const struct bytes *p)
{
    uint8_t padding = 5;
    put32(b, (uint32_t)(p->len + 2 + padding));
    put(b, &padding, 1);
    put(b, &type, 1);
    put(b, p->byte, p->len);
    put(b, "\0\0\0\0", padding);
}

static void kexinit(struct bytes *b)
{
    static struct bytes p;
    p.len = 0;
    put(&p, "0123456789abcdef", 16);
    for (int i = 0; i < 10; i++) {
        put32(&p, (uint32_t)strlen(lists[i]));
        put_text(&p, lists[i]);
    }
    put(&p, "\0\0\0\0", 5);
    packet(b, 20, &p);
}

static void play(const struct bytes *client, const struct bytes *server)
{
    const struct turn turns[] = {
        {TURN_DATA, MB_CLIENT, client->byte, client->len},
        {TURN_DATA, MB_SERVER, server->byte, server->len},
    };
    free(text);
    CHECK(transcript_same(turns, 2, false, WANT_ALL, 8, &text));
}

static struct bytes client, server;

static void test_handshake(void)
{
    client.len = server.len = 0;
    put_text(&client, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");
    kexinit(&client);
    put_text(&server, "Welcome\r\nto this server\r\nSSH-2.0-dropbear\n");
    static const struct bytes nothing;
    packet(&server, 2, &nothing); /* SSH_MSG_IGNORE */
    kexinit(&server);
    put_text(&server, "what follows is not looked at");
    play(&client, &server);
    CHECK(said("C ssh banner=<SSH-2.0-OpenSSH_9.2p1 Debian-2> protocol=<2.0> software=<OpenSSH_9.2p1> kex=<>"));
    CHECK(said("kex=<curve25519-sha256,ecdh-sha2-nistp256> keys=<ssh-ed25519> c2s=<aes128-ctr> s2c=<aes256-ctr> "
               "mac_c2s=<hmac-sha2-256> mac_s2c=<hmac-sha1> zip_c2s=<none> zip_s2c=<zlib>"));
    CHECK(said("S ssh banner=<SSH-2.0-dropbear> protocol=<2.0> software=<dropbear> kex=<>"));
    CHECK(said("app=ssh done=1"));
}

/* MD5 of "kex;ciphers;macs;compressions" of the side's own direction. */
static void test_hassh(void)
{
    client.len = server.len = 0;
    put_text(&client, "SSH-2.0-x\r\n");
    kexinit(&client);
    put_text(&server, "SSH-2.0-y\r\n");
    kexinit(&server);
    play(&client, &server);
    CHECK(said("hassh=88189635a3ee7c7f0c02224b7a2e1292\nS"));
    CHECK(said("hassh=08460fc9a0bcbafca99aac50628ae801\napp"));
}

static void test_version_1(void)
{
    client.len = server.len = 0;
    put_text(&client, "SSH-1.5-old\n");
    put_text(&server, "SSH-1.99-both\n\0\0\0");
    play(&client, &server);
    CHECK(said("protocol=<1.5> software=<old>"));
    CHECK(said("protocol=<1.99> software=<both>"));
    CHECK(said("done=0"));
}

static void test_damage(void)
{
    client.len = server.len = 0;
    put_text(&client, "SSH-2.0-x\r\n");
    put(&client, "\377\377\377\377\0\24", 6);
    put_text(&server, "SSH-2.0-y\r\n");
    size_t at = server.len;
    kexinit(&server);
    server.byte[at + 6 + 16] = 0xff; /* the first list is longer than the packet */
    play(&client, &server);
    CHECK(said("C anomaly"));
    CHECK(said("S anomaly\napp=ssh done=1"));
}

static void test_long_line(void)
{
    client.len = server.len = 0;
    put_text(&client, "SSH-2.0-");
    for (int i = 0; i < 300; i++)
        put(&client, "x", 1);
    put_text(&client, "\r\n");
    play(&client, &server);
    CHECK(said("C anomaly"));
}

static void test_gap(void)
{
    client.len = 0;
    put_text(&client, "SSH-2.0-x\r\n");
    const struct turn turns[] = {
        {TURN_DATA, MB_CLIENT, client.byte, client.len},
        {TURN_GAP, MB_CLIENT, NULL, 20},
        {TURN_DATA, MB_CLIENT, client.byte, client.len},
    };
    free(text);
    CHECK(transcript_same(turns, 3, false, WANT_ALL, 3, &text));
    CHECK(said("hassh=\nC anomaly\napp"));
}

/* The other direction was not captured: the parser does not stay for ever. */
static void test_one_side(void)
{
    client.len = server.len = 0;
    put_text(&client, "SSH-2.0-x\r\n");
    kexinit(&client);
    client.len += 70000;
    play(&client, &server);
    CHECK(said("done=1"));
}

int main(void)
{
    RUN(test_handshake);
    RUN(test_hassh);
    RUN(test_version_1);
    RUN(test_damage);
    RUN(test_long_line);
    RUN(test_gap);
    RUN(test_one_side);
    free(text);
    return test_done();
}
