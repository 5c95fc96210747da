/* SPDX-License-Identifier: BSD-3-Clause */
/* writer -- what the engine asks of a writer besides what mosbox.h declares */
#ifndef MB_IO_WRITER_H
#define MB_IO_WRITER_H

#include "mosbox.h"

/* LINKTYPE_ number that the file was opened for: all its packets are of it. */
int mb__writer_link(const struct mb_writer *w);

#endif
