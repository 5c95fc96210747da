/* SPDX-License-Identifier: BSD-3-Clause */
/* callbacks -- the Python functions that C may call; read by cffi only */

/* cffi: begin */
extern "Python" int mb_py_event(struct mb_event *ev, void *arg);
extern "Python" int mb_py_filter(struct mb_event *ev, void *arg);
extern "Python" void mb_py_free(void *user);
/* cffi: end */
