// jose against the tokens of `spec/vectors/tokens`: it accepts what counts, and makes tokens that count.
//
//     node tests/interop/tokens.mjs            checks every accepted token
//     node tests/interop/tokens.mjs --make     prints tokens of its own, as `tests/src/tokens/foreign.rs` has them
import assert from 'node:assert'
import { createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { SignJWT, createLocalJWKSet, jwtVerify } from 'jose'

const folder = new URL('../../spec/vectors/tokens/', import.meta.url)
const read = (name) => JSON.parse(readFileSync(new URL(name, folder), 'utf8'))
const { given } = read('index.json')
const shared = Buffer.from(given.hs256.split(':')[2], 'base64url')

async function check() {
  const keys = createLocalJWKSet(JSON.parse(given.jwks))
  const { cases } = read('accepted.json')
  for (const { name, token, keys: kind, now, expect } of cases) {
    const options = { issuer: given.issuer, audience: given.audience, typ: 'at+jwt', currentDate: new Date(now * 1000), clockTolerance: 5 }
    const [key, algorithm] = kind === 'hs256' ? [shared, 'HS256'] : [keys, 'EdDSA']
    const { payload } = await jwtVerify(token, key, { ...options, algorithms: [algorithm] })
    for (const field of ['sub', 'sid', 'jti', 'level', 'roles']) {
      assert.deepStrictEqual(payload[field], expect.claims[field], name)
    }
  }
  console.log(`jose accepts ${cases.length} tokens`)
}

async function make() {
  // PKCS #8 of an Ed25519 key is this and the 32 bytes.
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.from('obviously a test key, not a secr')])
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const now = 1767225600
  const claims = { sid: 'AAECAwQFBgcICQoL', level: 1, roles: ['admin', 'staff'] }
  for (const [algorithm, kid, secret] of [['EdDSA', 'ed-1', key], ['HS256', 'hs-1', shared]]) {
    const token = new SignJWT(claims).setProtectedHeader({ alg: algorithm, kid, typ: 'at+jwt' })
    token.setIssuer(given.issuer).setAudience(given.audience).setSubject('ada').setJti('token-1')
    token.setIssuedAt(now).setNotBefore(now).setExpirationTime(now + 300)
    console.log(await token.sign(secret))
  }
}

await (process.argv[2] === '--make' ? make() : check())
